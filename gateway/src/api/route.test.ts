import { Hono } from 'hono'
import { afterEach, describe, expect, it } from 'vitest'
import type { AppEnv } from '#identity/app-env.ts'
import { ollamaDialect } from './envelope.ts'
import { describe as describeRoutes } from './openapi.ts'
import { register, type Route } from './route.ts'
import { serveApi } from './serve.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

describe('a route', () => {
  it('of which nobody said who may call it does not start', () => {
    const route = { method: 'GET', path: '/new', dialect: ollamaDialect, handle: () => new Response() }
    const deps = {} as Parameters<typeof register>[2]
    expect(() => register(new Hono<AppEnv>(), [route as unknown as Route], deps)).toThrow(
      'Nobody said who may call GET /new.',
    )
  })

  it('that fails says nothing of why, and its row does', async () => {
    const broken: Route = {
      group: 'member',
      method: 'GET',
      path: '/broken',
      dialect: ollamaDialect,
      handle() {
        throw new Error('secret at 10.0.0.7')
      },
    }
    const { url, rows, close } = await serveApi({ more: [broken] })
    closers.push(close)
    const answer = await fetch(`${url}/broken`)
    expect([answer.status, await answer.json()]).toEqual([
      500,
      { error: expect.stringContaining('log says why') },
    ])
    expect(await rows('audit')).toMatchObject([{ path: '/broken', refusal: 'internal', status: 500 }])
  })

  it('for the admin is closed to a key, though it comes from the admin’s machine', async () => {
    const only: Route = {
      group: 'admin',
      method: 'GET',
      path: '/only',
      dialect: ollamaDialect,
      handle: ({ c }) => c.text('in'),
    }
    const { url, secrets, close } = await serveApi({ more: [only], keys: { script: {} } })
    closers.push(close)
    expect((await fetch(`${url}/only`)).status).toBe(200)
    expect((await fetch(`${url}/only`, { headers: { 'x-api-key': secrets.script ?? '' } })).status).toBe(403)
  })

  it('is open to a page of another origin where the admin allows it, and to no other', async () => {
    const { url, close } = await serveApi({ origins: ['https://chat.home'] })
    closers.push(close)
    const from = (origin: string) => fetch(`${url}/api/tags`, { headers: { origin } })
    const allowed = await from('https://chat.home')
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([
      200,
      'https://chat.home',
    ])
    const refused = await from('https://evil.example')
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([403, null])
  })

  it('is refused to another Host, and that is written down', async () => {
    const { url, rows, close } = await serveApi()
    closers.push(close)
    const { request } = await import('node:http')
    const status = await new Promise((settle) =>
      request(`${url}/api/tags`, { headers: { host: 'rebound.example' } }, ({ statusCode }) =>
        settle(statusCode),
      ).end(),
    )
    expect(status).toBe(421)
    expect(await rows('audit')).toMatchObject([{ status: 421, refusal: 'misdirected' }])
  })
})

it('the document of the API holds each path that is served, and what it takes', async () => {
  const { url, close } = await serveApi()
  closers.push(close)
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: object }> } }>>
  }
  for (const path of [
    '/v1/chat/completions',
    '/v1/responses',
    '/v1/messages',
    '/api/chat',
    '/api/embed',
    '/v1/audio/speech',
    '/image/api/generate/simple',
    '/healthz',
    '/v1/models/{model}',
  ])
    expect(Object.keys(document.paths)).toContain(path)
  expect(
    document.paths['/v1/chat/completions']?.post?.requestBody?.content['application/json']?.schema,
  ).toMatchObject({
    type: 'object',
    required: expect.arrayContaining(['model', 'messages']),
  })
  expect(describeRoutes([])).toMatchObject({ openapi: '3.1.0', paths: {} })
})

it('readiness is told apart from life: without an engine it is alive and not ready', async () => {
  const { url, close } = await serveApi()
  closers.push(close)
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
  const ready = await fetch(`${url}/readyz`)
  expect([ready.status, ready.headers.get('retry-after')]).toEqual([503, '5'])
})
