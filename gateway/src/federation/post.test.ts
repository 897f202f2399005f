/** What is sent between two gateways over a day of cuts, in simulated time: each schedule is made of its seed alone. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cleanPayload, maxFrameLength } from './frames.ts'
import { createBudget } from './link.ts'
import { openOutbox, type Outbox } from './outbox.ts'
import { maxMessageBytes, readPacket } from './packet.ts'
import { createPost, mostMessages, type Post } from './post.ts'
import { createSimulatedClock, type SimulatedClock } from './simulated-clock.fixture.ts'

const hour = 3_600_000
const log = pino({ level: 'silent' })

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-post-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface World {
  readonly clock: SimulatedClock
  readonly random: () => number
  cut: boolean
  /** Of all that is relayed, how much is lost though nothing is cut. */
  loss: number
  readonly perMinute: number
  relayed: number
  longest: number
}

/** One gateway's end, which can be killed and come again with what it had on disk. */
async function createEnd(world: World, name: string, peer: string, other: () => End | undefined) {
  const file = join(directory, `${name}.db`)
  const got: unknown[] = []
  const ids = new Set<string>()
  let refuse: (message: unknown) => boolean = () => false
  let outbox: Outbox
  let post: Post
  const budget = createBudget(world.perMinute, world.clock)
  let arrives = 0
  const link = {
    freeIn: () => (world.cut ? Infinity : budget.freeIn()),
    relay(target: string, payload: string) {
      expect(budget.freeIn()).toBe(0)
      budget.take()
      world.relayed += 1
      const frame = `{"type":"gateway_relay","targetMeshId":"${target}","payload":${payload}}`
      world.longest = Math.max(world.longest, frame.length)
      if (world.random() < world.loss) return
      // As of one connection: what was sent later comes later.
      arrives = Math.max(arrives, world.clock.now() + 20 + world.random() * 200)
      world.clock.after(arrives - world.clock.now(), () => {
        // What is on its way when the path is cut is gone.
        if (!world.cut) other()?.incoming(cleanPayload(JSON.parse(payload)))
      })
    },
  }
  const open = async (): Promise<void> => {
    outbox = await openOutbox(file)
    outbox.bind(peer, 'own', peer, world.clock.now())
    post = createPost({
      outbox,
      route: () => (world.cut ? undefined : link),
      async deliver(_from, _kind, message, id) {
        if (refuse(message)) throw new Error('not now')
        // As whoever takes a message would tell one that comes again after a crash from a new one.
        if (!ids.has(id)) got.push(message)
        ids.add(id)
      },
      clock: world.clock,
      log,
    })
  }
  await open()
  return {
    got,
    ids,
    send: (message: unknown) => post.send(peer, 'test', message),
    incoming(payload: unknown) {
      const packet = readPacket(payload)
      if (packet) post.incoming(peer, packet)
    },
    resume: () => post.resume(peer),
    waiting: () => outbox.waiting(peer),
    refuseWhere(test: (message: unknown) => boolean) {
      refuse = test
    },
    async restart() {
      post.close()
      outbox.close()
      await open()
      post.resume(peer)
    },
    close() {
      post.close()
      outbox.close()
    },
  }
}
type End = Awaited<ReturnType<typeof createEnd>>

async function createPair(seed: number, options: Partial<Pick<World, 'loss' | 'perMinute'>> = {}) {
  const world: World = {
    clock: createSimulatedClock(),
    random: randomOf(seed),
    cut: false,
    loss: options.loss ?? 0,
    perMinute: options.perMinute ?? 1_200,
    relayed: 0,
    longest: 0,
  }
  let ada: End | undefined
  let bob: End | undefined
  ada = await createEnd(world, 'ada', 'bob', () => bob)
  bob = await createEnd(world, 'bob', 'ada', () => ada)
  return { world, ada, bob, close: () => (ada?.close(), bob?.close()) }
}

/** The numbers below, in order. */
const counted = (count: number): number[] => Array.from({ length: count }, (_, number) => number)

describe('messages between two gateways', () => {
  it.each([1, 2, 3, 4])(
    'arrive once and in order through a day of cuts, restarts and lost packets (seed %i)',
    async (seed) => {
      const { world, ada, bob, close } = await createPair(seed, { loss: 0.2 })
      const { clock, random } = world
      const until = clock.now() + 24 * hour
      const sent = { ada: 0, bob: 0 }
      while (clock.now() < until) {
        const what = random()
        if (what < 0.7) {
          const [end, name] = random() < 0.5 ? ([ada, 'ada'] as const) : ([bob, 'bob'] as const)
          const burst = 1 + Math.floor(random() * 8)
          const kept: Promise<void>[] = []
          for (let count = 0; count < burst; count += 1) kept.push(end.send(sent[name]++))
          await clock.advance(1)
          await Promise.all(kept)
        } else if (what < 0.8) world.cut = true
        else if (what < 0.95) {
          world.cut = false
          ada.resume()
          bob.resume()
        } else await (random() < 0.5 ? ada : bob).restart()
        await clock.advance(random() * 600_000)
      }
      world.cut = false
      world.loss = 0
      ada.resume()
      bob.resume()
      await clock.advance(hour)
      expect(bob.got).toEqual(counted(sent.ada))
      expect(ada.got).toEqual(counted(sent.bob))
      expect(sent.ada).toBeGreaterThan(200)
      expect(ada.waiting()).toEqual({ messages: 0, bytes: 0 })
      expect(bob.waiting()).toEqual({ messages: 0, bytes: 0 })
      close()
    },
    // Each message of the day is brought to the disk of a machine that may be busy with other tests.
    120_000,
  )

  it('arrive after days of the other side’s absence, and fit the limit of a relay that knows nothing of us', async () => {
    const { world, ada, bob, close } = await createPair(7, { perMinute: 60 })
    const { clock } = world
    world.cut = true
    const text = 'x'.repeat(300)
    for (let number = 0; number < 2_000; number += 1) void ada.send({ number, text })
    await clock.advance(72 * hour)
    expect(ada.waiting().messages).toBe(2_000)
    world.cut = false
    ada.resume()
    await clock.advance(10 * 60_000)
    expect(bob.got).toEqual(counted(2_000).map((number) => ({ number, text })))
    // Several to a payload, each within a frame.
    expect(world.relayed).toBeLessThan(200)
    expect(world.longest).toBeLessThanOrEqual(maxFrameLength)
    close()
  })

  it('come at once where the limit is not reached', async () => {
    const { world, ada, bob, close } = await createPair(8, { perMinute: 60 })
    void ada.send('hello')
    await world.clock.advance(300)
    expect(bob.got).toEqual(['hello'])
    close()
  })

  it('come again where they could not be taken, and those behind them wait', async () => {
    const { world, ada, bob, close } = await createPair(9)
    let open = false
    bob.refuseWhere((message) => message === 1 && !open)
    for (const number of counted(3)) void ada.send(number)
    await world.clock.advance(60_000)
    expect(bob.got).toEqual([0])
    open = true
    await world.clock.advance(60_000)
    expect(bob.got).toEqual([0, 1, 2])
    close()
  })

  it('may be as large as is said, whatever is in them, and no larger', async () => {
    const { world, ada, bob, close } = await createPair(10)
    const large = `${'"\\'.repeat(2_000)}${'ü'.repeat(95)}`
    expect(Buffer.byteLength(JSON.stringify(large))).toBe(maxMessageBytes)
    void ada.send(large)
    await world.clock.advance(1_000)
    expect(bob.got).toEqual([large])
    expect(world.longest).toBeLessThanOrEqual(maxFrameLength)
    await expect(ada.send(`${large}x`)).rejects.toMatchObject({ code: 'too_large' })
    close()
  })

  it('are refused honestly where too many wait, and go on when there is room', async () => {
    const { world, ada, bob, close } = await createPair(11)
    world.cut = true
    for (let number = 0; number < mostMessages; number += 1) void ada.send(number)
    await expect(ada.send('more')).rejects.toMatchObject({ code: 'busy', detail: 'outbox_full' })
    await world.clock.advance(1)
    await expect(ada.send('more')).rejects.toMatchObject({ code: 'busy', detail: 'outbox_full' })
    world.cut = false
    ada.resume()
    await world.clock.advance(hour)
    expect(bob.got).toHaveLength(mostMessages)
    void ada.send('more')
    await world.clock.advance(1_000)
    expect(bob.got.at(-1)).toBe('more')
    close()
  })

  it('of a state that was restored from an older backup are not taken for those that came after it', async () => {
    const { world, ada, bob } = await createPair(12)
    for (const number of counted(5)) void ada.send(number)
    await world.clock.advance(5_000)
    ada.close()
    await Promise.all(
      ['ada.db', 'ada.db-wal', 'ada.db-shm'].map((name) => rm(join(directory, name), { force: true })),
    )
    const restored = await createEnd(world, 'ada', 'bob', () => bob)
    void restored.send('after')
    await world.clock.advance(60_000)
    expect(bob.got).toEqual([0, 1, 2, 3, 4, 'after'])
    restored.close()
    bob.close()
  })
})
