/** `/openapi.json`, made from the routes themselves. */
import { z } from 'zod'
import packageJson from '../../package.json' with { type: 'json' }
import { ollamaDialect } from './envelope.ts'
import type { Route } from './route.ts'

export function openApiRoute(routes: readonly Route[]): Route {
  return {
    group: 'member',
    dialect: ollamaDialect,
    method: 'GET',
    path: '/openapi.json',
    quiet: true,
    handle: ({ c }) => c.json(describe(routes)),
  }
}

/** @internal OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.1.html */
export function describe(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const { path, method, summary, body, group } of routes) {
    if (summary === undefined || method === 'ALL') continue
    const parameters = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    }))
    const place = path.replaceAll(/:(\w+)(?:\{[^}]*\})?/g, '{$1}')
    paths[place] = {
      ...paths[place],
      [method.toLowerCase()]: {
        summary,
        ...(parameters.length > 0 && { parameters }),
        ...(body && {
          requestBody: {
            required: true,
            content: {
              'application/json': { schema: z.toJSONSchema(body, { io: 'input', unrepresentable: 'any' }) },
            },
          },
        }),
        responses: {
          200: { description: 'The answer' },
          default: { description: 'An error, in the API’s own form' },
        },
        'x-group': group,
      },
    }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Sotto', version: packageJson.version },
    components: {
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer' },
        header: { type: 'apiKey', in: 'header', name: 'x-api-key' },
      },
    },
    // A device of the overlay needs none.
    security: [{}, { key: [] }, { header: [] }],
    paths,
  }
}
