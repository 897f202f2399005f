/** The dialects as one app. Who may call is settled before. */
import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
import { createHealth } from './health.ts'
import { createOllamaApi, type ApiDeps } from './ollama.ts'
import { createOpenAiApi } from './openai.ts'

export function createApi(deps: ApiDeps): Hono<{ Bindings: HttpBindings }> {
  return new Hono<{ Bindings: HttpBindings }>()
    .route('/', createHealth(deps.engines))
    .route('/', createOllamaApi(deps))
    .route('/', createOpenAiApi(deps))
}
