/** Whether the gateway serves, and with what. */
import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
import { z } from 'zod'
import type { Engines } from '#engines/engine.ts'
import type { EngineStates } from '#protocol/events.ts'
import packageJson from '../../package.json' with { type: 'json' }

const engineState = z.object({
  kind: z.enum(['ollama', 'whisper.cpp', 'openai', 'demo']),
  ready: z.boolean(),
  models: z.array(z.string()),
  problem: z.string().optional(),
  remedy: z.string().optional(),
})

/** The answer of `GET /health`. */
export const health = z.object({
  /** `degraded` while a demo answers in place of a real engine. */
  status: z.enum(['ok', 'degraded']),
  version: z.string(),
  engines: z.object({ chat: engineState, transcription: engineState }),
})

export type Health = z.infer<typeof health>

export function createHealth(engines: Engines): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>()
  app.get('/healthz', (c) => c.text('ok'))
  app.get('/health', (c) => c.json(readHealth(engines)))
  return app
}

function readHealth({ states }: Engines): Omit<Health, 'engines'> & { engines: EngineStates } {
  const real = [states.chat, states.transcription].every(({ kind, ready }) => kind !== 'demo' && ready)
  return { status: real ? 'ok' : 'degraded', version: packageJson.version, engines: states }
}
