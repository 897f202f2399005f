/**
 * The connection to Valkey, or Redis, by which several gateways count as one. It is lost and comes back by
 * itself; meanwhile whoever needs it is told so at once, and nobody waits.
 *
 * What a gateway has there, it has under the name of this connection, its `epoch`. When it connects again it
 * says anew all that it holds, and what the server still had to read of the old connection changes nothing.
 */
import { randomUUID } from 'node:crypto'
import { createClient, type RedisClientType } from '@redis/client'
import type { Logger } from 'pino'
import { Failure } from '../failure.ts'
import { scripts, type ScriptName } from './scripts.ts'

export interface ValkeyConfig {
  /** `redis://[user@]host[:port][/database]`, or `rediss://` */
  readonly url: string
  readonly password?: string | undefined
  /** PEM of the authority of its certificate; undefined for those that the system trusts. */
  readonly ca?: string | undefined
}

export interface Valkey {
  /** Of this gateway, over restarts. */
  readonly id: string
  /** Whether it is there. */
  ready(): boolean
  /** Runs a script by what it calls `take`: as who holds what. Throws a `Failure`, `unavailable`. */
  run(
    name: ScriptName,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<readonly unknown[]>
  /** The same where the answer is of no interest: what is not said now is said on the next connection. */
  tell(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): void
  /** Is called on each new connection, before anything else is sent by it, to say what is held. */
  onConnect(say: (run: Valkey['run']) => Promise<void>): void
  /** Is called for the keys that are to be kept while this gateway lives. */
  keep(keys: () => readonly string[]): void
  /** Resolves when it is there, or the first attempt failed; after that it is tried again and again. */
  connect(): Promise<void>
  close(): Promise<void>
}

interface Link {
  readonly client: RedisClientType
  /** `RUN/UUID`, with the run of the server. */
  readonly epoch: string
  /** Others that live have said what they hold. */
  open: boolean
}

/** A gateway that is silent so long is gone, and what it had open is free. */
const presenceMs = 15_000
const beatMs = 3_000
/** A server that does not answer so long is away. */
const answerMs = 2_000
const retryMs = 500
const retryAfterSeconds = 2
const defaultPort = 6_379
/** After a start of the server, until each gateway that lives is connected again and has said what it holds. */
const gatherMs = 2 * retryMs + answerMs

/** All of them in one slot of a cluster. */
export const keyOf = (kind: string, name: string): string => `{sotto}:${kind}:${name}`

/** @param id of this gateway, over restarts */
export function createValkey(config: ValkeyConfig, id: string, log: Pick<Logger, 'error' | 'info'>): Valkey {
  let link: Link | undefined
  let closed = false
  let lastRun: string | undefined
  let lost = false
  let timer: NodeJS.Timeout | undefined
  const hooks: Parameters<Valkey['onConnect']>[0][] = []
  const kept: (() => readonly string[])[] = []
  const shas = new Map<string, string>()
  const own = keyOf('gateway', id)

  const drop = (of: Link, error: unknown): void => {
    if (link !== of) return
    link = undefined
    if (of.client.isOpen) of.client.destroy()
    if (closed) return
    if (!lost) log.error({ err: error }, 'Valkey is away: whoever has limits is refused until it is back')
    lost = true
    later(retryMs, connect)
  }
  const later = (ms: number, task: () => unknown): void => {
    clearTimeout(timer)
    timer = setTimeout(() => void task(), ms).unref()
  }
  const send = async (
    { client, epoch }: Link,
    name: ScriptName,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<readonly unknown[]> => {
    const answer: unknown = await client.evalSha(shas.get(name) ?? '', {
      keys: [own, ...keys],
      arguments: [id, epoch, ...args.map(String)],
    })
    if (!Array.isArray(answer)) throw new Error(`Valkey answered ${name} with what is no list.`)
    if (answer[0] === 'stale') throw new Error('This connection to Valkey was taken for dead.')
    return answer
  }
  /** Any error ends the connection: on the next one all is said anew. */
  const ask: typeof send = async (of, ...rest) => {
    try {
      return await within(send(of, ...rest), answerMs)
    } catch (error) {
      drop(of, error)
      throw error
    }
  }
  const beat = async (of: Link): Promise<void> => {
    await ask(
      of,
      'beat',
      kept.flatMap((keys) => keys()),
      [presenceMs],
    )
    if (link === of) later(beatMs, () => beat(of).catch(() => {}))
  }
  const connect = async (): Promise<void> => {
    const client = clientOf(config)
    const made: Link = { client, epoch: '', open: false }
    client.on('error', (error: unknown) => drop(link?.client === client ? link : made, error))
    link = made
    try {
      const run = await within(prepare(client, shas), answerMs)
      if (link !== made) return
      const opened: Link = { client, epoch: `${run}/${randomUUID()}`, open: false }
      link = opened
      await Promise.all([
        within(send(opened, 'announce', [], [presenceMs]), answerMs),
        ...hooks.map((say) => say((name, keys, args) => ask(opened, name, keys, args))),
        within(send(opened, 'beat', [], [presenceMs]), answerMs),
      ])
      const gather = lastRun === undefined || lastRun === run ? 0 : gatherMs
      lastRun = run
      later(gather, () => {
        if (link !== opened) return
        opened.open = true
        if (lost) log.info('Valkey is back')
        lost = false
        void beat(opened).catch(() => {})
      })
    } catch (error) {
      drop(link?.client === client ? link : made, error)
    }
  }
  return {
    id,
    connect,
    ready: () => link?.open === true,
    async run(name, keys, args) {
      if (link?.open !== true) throw away()
      return ask(link, name, keys, args).catch((error: unknown) => {
        throw away(error)
      })
    },
    tell(name, keys, args) {
      if (link && link.epoch !== '') ask(link, name, keys, args).catch(() => {})
    },
    onConnect(say) {
      hooks.push(say)
    },
    keep(keys) {
      kept.push(keys)
    },
    async close() {
      closed = true
      clearTimeout(timer)
      const last = link
      link = undefined
      if (last?.open === true)
        await within(send(last, 'leave', [keyOf('neighbour', id)], []), answerMs).catch(() => {})
      if (last?.client.isOpen) last.client.destroy()
    },
  }
}

/** A connection of its own for one question. Throws what went wrong, without the password. */
export async function connectedTo<T>(
  config: ValkeyConfig,
  ask: (client: RedisClientType) => Promise<T>,
): Promise<T> {
  const client = clientOf(config)
  // `connect` rejects with it, too.
  client.on('error', () => {})
  try {
    return await within(
      client.connect().then(() => ask(client)),
      answerMs,
    )
  } finally {
    if (client.isOpen) client.destroy()
  }
}

function clientOf({ url, password, ca }: ValkeyConfig): RedisClientType {
  const { protocol, hostname, port, username, pathname } = new URL(url)
  const host = hostname.replaceAll(/[[\]]/g, '')
  const place = {
    host,
    port: Number(port || defaultPort),
    connectTimeout: answerMs,
    reconnectStrategy: false,
  } as const
  return createClient({
    socket: protocol === 'rediss:' ? { ...place, tls: true, ...(ca !== undefined && { ca }) } : place,
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(password !== undefined && { password }),
    database: Number(pathname.slice(1)),
    disableOfflineQueue: true,
  })
}

/** Connects and loads the scripts. Resolves to what tells this run of the server from any other. */
async function prepare(client: RedisClientType, shas: Map<string, string>): Promise<string> {
  await client.connect()
  for (const [name, text] of Object.entries(scripts)) shas.set(name, await client.scriptLoad(text))
  const [, run] = /^run_id:(\w+)/m.exec(await client.info('server')) ?? []
  if (run === undefined) throw new Error('It does not say its run_id.')
  return run
}

async function within<T>(task: Promise<T>, ms: number): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`No answer within ${ms / 1_000} s.`)), ms)
  try {
    return await Promise.race([task, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

function away(cause?: unknown): Failure {
  return new Failure('unavailable', 'Limits can’t be counted now, so nobody who has some is served.', cause, {
    retryAfter: retryAfterSeconds,
  })
}
