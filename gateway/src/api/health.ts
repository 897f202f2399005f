/** Whether the gateway serves, and with what. */
import { z } from 'zod'
import type { EngineView } from '#engines/engine.ts'
import type { Trouble } from '#protocol/admin.ts'
import type { EngineStates } from '#protocol/events.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { ollamaDialect } from './envelope.ts'
import type { Route } from './route.ts'

const engineState = z.object({
  kind: z.enum(['ollama', 'whisper.cpp', 'openai', 'asr-webservice', 'wyoming', 'sherpa', 'demo']),
  ready: z.boolean(),
  models: z.array(z.string()),
  problem: z.string().optional(),
  remedy: z.string().optional(),
})

/** The answer of `GET /health`. */
export const health = z.object({
  /** As the mesh relay's protocol has it. */
  ok: z.literal(true),
  /** Meshes that are connected to the relay. */
  connected: z.number(),
  /** `degraded` while a demo answers in place of a real engine, or limits can’t be counted. */
  status: z.enum(['ok', 'degraded']),
  version: z.string(),
  engines: z.object({ chat: engineState, transcription: engineState }),
  /** Told to the admin’s devices and the gateway’s own machine alone. */
  troubles: z.array(
    z.object({
      kind: z.enum(['disk_full', 'disk_unwritable', 'clock', 'interface', 'certificate']),
      since: z.string(),
      over: z.boolean(),
      message: z.string(),
      remedy: z.string(),
    }),
  ),
  /** Where limits are counted; left out where this gateway counts its own. */
  valkey: z.enum(['ready', 'away']).optional(),
  /** Other gateways that count there. */
  neighbours: z.number().optional(),
})

export type Health = z.infer<typeof health>

export interface HealthDeps {
  readonly engines: EngineView
  /** Whether records can be written. */
  ready(): boolean
  /** Meshes that are connected to the relay. */
  connected(): number
  /** Whether Valkey is there; undefined where there is none. */
  valkey(): boolean | undefined
  troubles(): readonly Trouble[]
  /** How many other gateways count there; undefined where there is no Valkey. */
  neighbours(): number | undefined
}

/** What every gateway of its kind is asked by those who watch it. */
export function healthRoutes(deps: HealthDeps): Route[] {
  const { engines, ready } = deps
  const watch = { group: 'guest', method: 'GET', dialect: ollamaDialect, quiet: true } as const
  return [
    {
      ...watch,
      path: '/healthz',
      summary: 'Whether the process is alive',
      visit: ({ c }) => c.text('ok'),
    },
    {
      ...watch,
      path: '/readyz',
      summary: 'Whether it can answer: an engine is there and records can be written',
      visit: ({ c }) =>
        ready() && engines.states.chat.ready && engines.states.chat.kind !== 'demo'
          ? c.text('ok')
          : c.text('not ready', 503, { 'Retry-After': '5' }),
    },
    {
      ...watch,
      group: 'member',
      path: '/health',
      summary: 'How the engines are',
      handle: ({ c, caller }) => c.json(readHealth(deps, caller.admin)),
    },
  ]
}

function readHealth(
  { connected, engines: { states }, neighbours, troubles, valkey }: HealthDeps,
  admin: boolean,
): Omit<Health, 'engines' | 'troubles'> & { engines: EngineStates; troubles: readonly Trouble[] } {
  const there = valkey()
  const others = neighbours()
  const real = [states.chat, states.transcription].every(({ kind, ready }) => kind !== 'demo' && ready)
  return {
    ok: true,
    connected: connected(),
    status: real && there !== false ? 'ok' : 'degraded',
    version: packageJson.version,
    engines: states,
    troubles: admin ? troubles() : [],
    ...(there !== undefined && { valkey: there ? 'ready' : 'away' }),
    ...(others !== undefined && { neighbours: others }),
  }
}
