/** Gateways that are in touch, each with its relay and its outbox, over sockets on loopback. */
import { createServer, type Server } from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Friend } from '@sotto/provisioning/registry/friend.ts'
import { someNetwork } from '@sotto/provisioning/registry/network.fixture.ts'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDirectory } from '#identity/directory.ts'
import { createKeyring } from '#identity/keyring.ts'
import { ownNames } from '#listener/origin.ts'
import { systemClock } from './clock.ts'
import type { Peer } from './federation.ts'
import { openFederation, type OpenFederation } from './open-federation.ts'
import { openOutbox } from './outbox.ts'
import { startPlainRelay } from './plain-relay.fixture.ts'
import { createRelaySockets } from './relay-sockets.ts'
import { createRelay } from './relay.ts'

const log = pino({ level: 'silent' })
let directory: string
const closers: (() => unknown)[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-federation-'))
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await rm(directory, { recursive: true, force: true })
})

interface House {
  readonly federation: OpenFederation
  readonly url: string
  /** What was taken: by whom, and what. */
  readonly got: { readonly from: Peer; readonly message: unknown }[]
  /** Ends all connections to its relay. */
  cut(): void
}

/** A gateway under an id that is its secret at every relay, too. */
async function house(meshId: string): Promise<House> {
  const relay = createRelay({
    verify: async (id, secret) => (id === secret ? `${id} mesh` : undefined),
    seen() {},
    clock: systemClock,
    log,
  })
  const identity = { directory: createDirectory(someNetwork()), keyring: createKeyring() }
  const sockets = createRelaySockets({ identity, names: () => ownNames([], 0), relay })
  const server: Server = createServer()
  server.on('upgrade', sockets.upgradeOutside)
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  const outbox = await openOutbox(join(directory, `${meshId}.db`))
  const federation = openFederation({ self: { meshId, name: meshId }, relay, outbox, log })
  const got: House['got'] = []
  federation.receive('test', async (from, message) => void got.push({ from, message }))
  closers.push(() => {
    federation.close()
    relay.close()
    sockets.close()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    federation,
    url: `ws://127.0.0.1:${port}/gateway`,
    got,
    cut: () => relay.keepOnly(() => false),
  }
}

const joined = (name: string, meshId: string, url: string, own: string): Friend => ({
  name,
  meshId,
  direction: 'joined',
  createdAt: '',
  relay: { url, ca: undefined, fingerprint: undefined, meshId: own, secret: own },
})
const invited = (name: string, meshId: string): Friend => ({
  name,
  meshId,
  direction: 'invited',
  createdAt: '',
})
const messages = ({ got }: House) => got.map(({ message }) => message)
const names = ({ federation }: House) =>
  federation.peers.filter(({ connected }) => connected).map(({ name }) => name)

/** Bob and Eve joined Ada's relay; Bob is her friend. */
async function three() {
  const [ada, bob, eve] = [await house('ada'), await house('bob'), await house('eve')]
  ada.federation.update([invited('bobby', 'bob')], [{ meshId: 'bob' }, { meshId: 'eve' }])
  bob.federation.update([joined('addie', 'ada', ada.url, 'bob')], [])
  eve.federation.update([joined('ada', 'ada', ada.url, 'eve')], [])
  await expect.poll(() => names(ada).toSorted()).toEqual(['bobby', 'eve mesh'])
  await expect.poll(() => names(bob).toSorted()).toEqual(['addie', 'eve mesh@addie'])
  return { ada, bob, eve }
}

describe('gateways in touch', () => {
  it('send each other, by the names that each gave the other, and to others on the same relay', async () => {
    const { ada, bob, eve } = await three()
    await ada.federation.send('bob', 'test', 'from ada')
    await bob.federation.send('ada', 'test', { from: 'bob' })
    await eve.federation.send('bob', 'test', 'from eve')
    await expect.poll(() => messages(bob).map(String).toSorted()).toEqual(['from ada', 'from eve'])
    await expect.poll(() => messages(ada)).toEqual([{ from: 'bob' }])
    expect(ada.got[0]?.from).toMatchObject({ meshId: 'bob', name: 'bobby', connected: true })
    await expect.poll(() => bob.federation.waiting('ada').messages).toBe(0)
  })

  it('see each other’s rooms', async () => {
    const { ada, bob } = await three()
    ada.federation.announce(['kitchen'])
    bob.federation.announce(['garden'])
    const roomsOf = ({ federation }: House, name: string) =>
      federation.peers.find((peer) => peer.name === name)?.rooms
    await expect.poll(() => roomsOf(bob, 'addie')).toEqual(['kitchen'])
    await expect.poll(() => roomsOf(ada, 'bobby')).toEqual(['garden'])
  })

  it('tell those who watch, until they do not', async () => {
    const { ada } = await three()
    let told = 0
    const stop = ada.federation.watch(() => (told += 1))
    ada.federation.announce(['kitchen'])
    await expect.poll(() => told).toBeGreaterThan(0)
    stop()
    const before = told
    ada.federation.announce([])
    await Promise.resolve()
    expect(told).toBe(before)
  })

  it('bring what was sent while the path was cut', async () => {
    const { ada, bob } = await three()
    const last: Promise<void>[] = []
    for (let number = 0; number < 40; number += 1) {
      last.push(bob.federation.send('ada', 'test', number), ada.federation.send('bob', 'test', number))
      if (number % 10 === 5) ada.cut()
    }
    await Promise.all(last)
    const all = Array.from({ length: 40 }, (_, number) => number)
    await expect.poll(() => messages(ada), { timeout: 20_000 }).toEqual(all)
    await expect.poll(() => messages(bob), { timeout: 20_000 }).toEqual(all)
  })

  it('send to nobody whom they do not know, nor to themselves', async () => {
    const { ada } = await three()
    for (const meshId of ['nobody', 'ada'])
      await expect(ada.federation.send(meshId, 'test', 1)).rejects.toMatchObject({ code: 'not_found' })
  })

  it('hear no mesh that speaks in a friend’s name from another relay', async () => {
    const { ada, bob } = await three()
    // Mallory's relay has a mesh that says it is Ada.
    const mallory = await house('mallory')
    const false_ada = await house('false')
    bob.federation.update(
      [joined('addie', 'ada', ada.url, 'bob'), joined('mal', 'mallory', mallory.url, 'bob')],
      [],
    )
    false_ada.federation.update([joined('mal', 'mallory', mallory.url, 'ada')], [])
    await expect.poll(() => names(bob).toSorted()).toEqual(['addie', 'eve mesh@addie', 'mal'])
    await expect.poll(() => names(false_ada)).toContain('bob mesh@mal')
    await false_ada.federation.send('bob', 'test', 'I am Ada')
    await mallory.federation.send('bob', 'test', 'hello')
    await expect.poll(() => messages(bob)).toEqual(['hello'])
    await ada.federation.send('bob', 'test', 'I really am')
    await expect.poll(() => messages(bob)).toEqual(['hello', 'I really am'])
  })

  it('forget a friend that is one no more, with what waited for it', async () => {
    const { ada, bob } = await three()
    await bob.federation.send('eve', 'test', 'hello')
    bob.federation.update([], [])
    expect(bob.federation.peers).toEqual([])
    await expect(bob.federation.send('ada', 'test', 1)).rejects.toMatchObject({ code: 'not_found' })
    await expect.poll(() => names(ada)).toEqual(['eve mesh'])
    // And one that comes anew begins anew.
    ada.federation.update([], [{ meshId: 'eve' }])
    ada.federation.update([invited('bobby', 'bob')], [{ meshId: 'bob' }, { meshId: 'eve' }])
    bob.federation.update([joined('addie', 'ada', ada.url, 'bob')], [])
    await expect.poll(() => names(bob)).toContain('addie')
    await bob.federation.send('ada', 'test', 'again')
    await ada.federation.send('bob', 'test', 'welcome')
    await expect.poll(() => messages(ada)).toEqual(['again'])
    await expect.poll(() => messages(bob)).toEqual(['welcome'])
  })

  it('reach each other over a relay that knows nothing of them', async () => {
    const plain = await startPlainRelay()
    closers.push(plain.close)
    const [ada, bob] = [await house('ada'), await house('bob')]
    ada.federation.update([joined('club', plain.url, plain.url, 'ada')], [])
    bob.federation.update([joined('club', plain.url, plain.url, 'bob')], [])
    await expect.poll(() => names(bob)).toEqual(['ada@club'])
    const text = '"'.repeat(2_000)
    for (let number = 0; number < 20; number += 1) await bob.federation.send('ada', 'test', { number, text })
    await expect
      .poll(() => messages(ada), { timeout: 20_000 })
      .toEqual(Array.from({ length: 20 }, (_, number) => ({ number, text })))
    expect(plain.relayed).toBeLessThan(40)
    expect(plain.longest).toBeLessThanOrEqual(10_240)
  })
})

describe('the outbox', () => {
  it('holds after kill -9 all that was acknowledged, in order', async () => {
    const file = join(directory, 'killed.db')
    const child = execa(process.execPath, [join(import.meta.dirname, 'send-until-killed.fixture.ts'), file], {
      reject: false,
    })
    let said = ''
    for await (const chunk of child.stdout) {
      said += String(chunk)
      if (said.split('\n').length > 50) break
    }
    child.kill('SIGKILL')
    await child
    const acknowledged = said.split('\n').filter(Boolean).length
    const outbox = await openOutbox(file)
    closers.push(() => outbox.close())
    const kept = outbox.from('bob', 0, 100_000)
    expect(kept.length).toBeGreaterThanOrEqual(acknowledged)
    expect(kept.map(({ body }) => Number(body))).toEqual(kept.map((_, index) => index))
    expect(kept.map(({ number }) => number)).toEqual(kept.map((_, index) => index + 1))
    expect(outbox.waiting('bob').messages).toBe(kept.length)
  })
})
