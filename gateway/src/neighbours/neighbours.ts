/**
 * The other gateways of the same house. Each says in Valkey every second where it is reached and which lenders are
 * connected to it; so what a lender has is here, too, at whichever of them it is connected.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { z } from 'zod'
import type { Engines } from '#engines/engine.ts'
import { parseJson } from '#engines/json.ts'
import type { Hub, LiveLender } from '#tunnel/hub.ts'
import { offer } from '#tunnel/offer.ts'
import { keyOf, type Valkey } from '#valkey/valkey.ts'
import { doorName, secretHeader } from './door.ts'
import { ThroughDoor } from './through.ts'

export interface Neighbours {
  /** Those that are there now, besides this one. */
  readonly count: number
  /** A lender that is connected to one of them. */
  find(person: string, name: string): LiveLender | undefined
  close(): Promise<void>
}

export interface NeighboursDeps {
  readonly valkey: Valkey
  readonly hub: Pick<Hub, 'all' | 'find'>
  readonly engines: Pick<Engines, 'lend'>
  /** Where the others reach our door. */
  readonly at: Place
  readonly secret: string
  /** Of the authority of all of them, PEM. */
  roots(): Promise<readonly string[]>
  readonly log: Pick<Logger, 'info' | 'error'>
}

const place = z.object({ host: z.string(), port: z.int() })
type Place = z.infer<typeof place>

const lender = z.object({
  number: z.number(),
  personId: z.string(),
  person: z.string(),
  name: z.string(),
  key: z.string(),
  address: z.string(),
  since: z.coerce.date(),
  offer,
})
const said = z.object({ id: z.string(), at: place, lenders: z.array(lender) })
type Said = z.infer<typeof said>

/** A lender of a neighbour's, or what will be one when it has been asked what it has. */
interface Remote {
  readonly ready: Promise<LiveLender>
  live?: LiveLender
}

const everyMs = 1_000
/** One that is silent so long is gone. */
const presenceMs = 6_000
const dialMs = 3_000

export function joinNeighbours(deps: NeighboursDeps): Neighbours {
  const { valkey, hub, at, log } = deps
  const stop = new AbortController()
  const remotes = new Map<string, Remote>()
  let count = 0

  const meet = async (): Promise<Said[]> => {
    const lenders = hub.all.map(
      ({ number, personId, person, name, key, address, since, offer: offered }) => ({
        number,
        personId,
        person,
        name,
        key,
        address,
        since,
        offer: offered,
      }),
    )
    const others = await valkey.run(
      'meet',
      [keyOf('gateways', 'all'), keyOf('neighbour', valkey.id)],
      [JSON.stringify({ id: valkey.id, at, lenders }), presenceMs],
    )
    return others.flatMap((one) => {
      const read = said.safeParse(parseJson(String(one)))
      return read.success ? [read.data] : []
    })
  }
  const leave = async (name: string, remote: Remote): Promise<void> => {
    remotes.delete(name)
    const live = await remote.ready.catch(() => undefined)
    await live?.lent.leave()
    await live?.upstream.destroy()
  }
  const takeUp = async (others: readonly Said[]): Promise<void> => {
    count = others.length
    const there = new Map<string, z.infer<typeof lender> & { readonly door: Place }>(
      others.flatMap(({ id, at: door, lenders }) =>
        lenders.map((one) => [`${id} ${one.number} ${one.person}/${one.name}`, { ...one, door }] as const),
      ),
    )
    const gone = [...remotes].filter(([name]) => !there.has(name))
    await Promise.all(gone.map(([name, remote]) => leave(name, remote)))
    for (const [name, one] of there) {
      if (remotes.has(name)) continue
      const remote: Remote = { ready: lend(deps, one) }
      remotes.set(name, remote)
      remote.ready.then(
        (live) => {
          remote.live = live
          log.info({ lender: live.id, at: one.door }, 'a neighbour has a lender')
        },
        (error: unknown) => log.error({ err: error }, 'a neighbour’s lender could not be taken up'),
      )
    }
  }
  const running = (async () => {
    while (!stop.signal.aborted) {
      // While Valkey is away they are where they were.
      const others = await meet().catch(() => undefined)
      if (others && !stop.signal.aborted) await takeUp(others)
      await sleep(everyMs, undefined, { signal: stop.signal, ref: false }).catch(() => {})
    }
  })()
  return {
    get count() {
      return count
    },
    find: (person, name) =>
      [...remotes.values()].find(({ live }) => live?.person === person && live.name === name)?.live,
    async close() {
      stop.abort()
      await running
      await Promise.all([...remotes].map(([name, remote]) => leave(name, remote)))
    },
  }
}

async function lend(
  { engines, secret, roots }: NeighboursDeps,
  { door, ...one }: z.infer<typeof lender> & { readonly door: Place },
): Promise<LiveLender> {
  const id = `${one.person}/${one.name}`
  const host = door.host.includes(':') ? `[${door.host}]` : door.host
  const upstream = new ThroughDoor({
    origin: `https://${host}:${door.port}`,
    base: `/${encodeURIComponent(one.person)}/${one.name}`,
    headers: { [secretHeader]: secret },
    connect: { ca: [...(await roots())], servername: doorName, timeout: dialMs },
  })
  const lent = await engines.lend({
    name: id,
    upstream,
    ollama: one.offer.ollama
      ? { name: id, url: 'http://lender/ollama', kind: 'ollama', parallel: one.offer.parallel }
      : undefined,
    whisper: one.offer.whisper ? 'http://lender/whisper' : undefined,
  })
  return { id, ...one, upstream, lent, replaced() {} }
}
