/** The relay's protocol frame by frame, and the defects of its first server, each by its name. */
import { pino } from 'pino'
import { beforeEach, describe, expect, it } from 'vitest'
import type { OwnMesh, Relay } from './relay.ts'
import { createRelay } from './relay.ts'
import { createSimulatedClock, type SimulatedClock } from './simulated-clock.fixture.ts'

const minute = 60_000
const secrets: Readonly<Record<string, string>> = { ada: 'a', bob: 'b', eve: 'e' }

let clock: SimulatedClock
let relay: Relay
let seen: string[]
/** Verifying waits for it. */
let verifying: Promise<unknown>

beforeEach(() => {
  clock = createSimulatedClock()
  seen = []
  verifying = Promise.resolve()
  relay = createRelay({
    async verify(meshId, secret) {
      await verifying
      return secrets[meshId] === secret ? `${meshId}’s` : undefined
    },
    seen: (meshId) => void seen.push(meshId),
    clock,
    log: pino({ level: 'silent' }),
  })
})

/** A connection, and what came by it. */
function connect() {
  const got: Readonly<Record<string, unknown>>[] = []
  const state = { closed: false }
  const port = relay.open(
    { send: (frame) => void got.push(JSON.parse(frame)), close: () => void (state.closed = true) },
    '192.0.2.7',
  )
  return {
    got,
    get closed() {
      return state.closed
    },
    say: (frame: unknown) => port.receive(typeof frame === 'string' ? frame : JSON.stringify(frame)),
    gone: () => port.gone(),
    last: () => got.at(-1),
  }
}
type Connection = ReturnType<typeof connect>

async function join(meshId: string, more: object = {}): Promise<Connection> {
  const made = connect()
  made.say({ type: 'gateway_auth', meshId, secret: secrets[meshId], ...more })
  await clock.advance(0)
  expect(made.got[0]).toMatchObject({ type: 'gateway_auth_ok', meshId })
  made.got.length = 0
  return made
}

const message = { type: 'new_message', message: { id: '1', content: 'hello' } }
const rateLimited = { type: 'error', message: 'Rate limited (max 60 messages/minute)' }

describe('the relay’s protocol', () => {
  it('lets in whose secret is right', async () => {
    const ada = connect()
    ada.say({ type: 'gateway_auth', meshId: 'ada', secret: 'a' })
    await clock.advance(0)
    expect(ada.got).toEqual([{ type: 'gateway_auth_ok', meshId: 'ada', name: 'ada’s' }])
    await clock.advance(minute)
    expect(ada.closed).toBe(false)
  })

  it.each([
    ['a wrong secret', { meshId: 'ada', secret: 'b' }],
    ['an unknown mesh', { meshId: 'nobody', secret: 'a' }],
  ])('sends %s away', async (_, auth) => {
    const stranger = connect()
    stranger.say({ type: 'gateway_auth', ...auth })
    await clock.advance(0)
    expect(stranger.got).toEqual([{ type: 'gateway_auth_error', message: 'Invalid credentials' }])
    expect(stranger.closed).toBe(true)
    expect(relay.meshes).toEqual([])
  })

  it('sends away who does not say within ten seconds who it is', async () => {
    const silent = connect()
    await clock.advance(9_999)
    expect(silent.closed).toBe(false)
    await clock.advance(1)
    expect(silent.got).toEqual([{ type: 'gateway_auth_error', message: 'Auth timeout' }])
    expect(silent.closed).toBe(true)
  })

  it('tells who asks before that it is not known, and not for ever', async () => {
    const early = connect()
    early.say({ type: 'gateway_discover' })
    expect(early.got).toEqual([{ type: 'gateway_auth_error', message: 'Not authenticated' }])
    expect(early.closed).toBe(false)
    for (let count = 0; count < 20; count += 1) early.say({ type: 'gateway_discover' })
    expect(early.closed).toBe(true)
  })

  it('hears in order what comes while a secret is verified', async () => {
    await join('bob')
    const ada = connect()
    ada.say({ type: 'gateway_auth', meshId: 'ada', secret: 'a' })
    ada.say({ type: 'gateway_discover' })
    await clock.advance(0)
    expect(ada.got.map(({ type }) => type)).toEqual(['gateway_auth_ok', 'gateway_discover_result'])
  })

  it('tells who is there, with their rooms', async () => {
    const ada = await join('ada', { publicRooms: ['kitchen'] })
    const bob = await join('bob')
    ada.say({ type: 'gateway_update_rooms', publicRooms: ['garden'] })
    bob.say({ type: 'gateway_discover' })
    expect(bob.last()).toEqual({
      type: 'gateway_discover_result',
      instances: [
        { meshId: 'ada', name: 'ada’s', publicRooms: ['garden'] },
        { meshId: 'bob', name: 'bob’s', publicRooms: [] },
      ],
    })
  })

  it('relays to one and broadcasts to all others', async () => {
    const [ada, bob, eve] = [await join('ada'), await join('bob'), await join('eve')]
    const incoming = {
      type: 'gateway_incoming',
      fromMeshId: 'ada',
      fromMeshName: 'ada’s',
      payload: { type: 'new_message', message: { id: '1', content: 'hello', trustLevel: 'federated' } },
    }
    ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    expect([ada.got, bob.got, eve.got]).toEqual([[], [incoming], []])
    ada.say({ type: 'gateway_broadcast', payload: message })
    expect([ada.got, bob.got, eve.got]).toEqual([[], [incoming, incoming], [incoming]])
  })

  it('lets two fields of a payload through and eleven of its message, and says itself whom to trust', async () => {
    const [ada, bob] = [await join('ada'), await join('bob')]
    const fields = {
      id: '1',
      roomId: 'r',
      senderId: 's',
      senderName: 'S',
      content: { any: ['thing'] },
      isDm: false,
      createdAt: 'now',
      fromMesh: 'm',
      fromMeshId: 'i',
      roomName: 'kitchen',
    }
    const payload = {
      type: 'x',
      secret: 1,
      message: { ...fields, trustLevel: 'owner', admin: true, ['__proto__']: 1 },
    }
    ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload })
    expect(bob.last()?.payload).toEqual({ type: 'x', message: { ...fields, trustLevel: 'federated' } })
  })

  it('tells of participants to who comes, and to all when they change', async () => {
    const anna = { id: '1', name: 'Anna', type: 'human' }
    const ada = await join('ada', { participants: [anna] })
    const bob = connect()
    bob.say({ type: 'gateway_auth', meshId: 'bob', secret: 'b' })
    await clock.advance(0)
    const of = (participants: readonly object[]) => ({
      type: 'gateway_participants',
      remoteParticipants: [{ meshId: 'ada', meshName: 'ada’s', participants }],
    })
    expect(bob.last()).toEqual(of([anna]))
    ada.say({ type: 'gateway_update_participants', participants: [] })
    expect(bob.last()).toEqual(of([]))
  })

  it('refuses a frame that is too large, and goes on', async () => {
    const [ada, bob] = [await join('ada'), await join('bob')]
    const large = { ...message, message: { content: 'x'.repeat(10_240) } }
    ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: large })
    expect(ada.got).toEqual([{ type: 'error', message: 'Payload too large (max 10240 bytes)' }])
    ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    expect(bob.got).toHaveLength(1)
  })

  it('passes over what is no frame', async () => {
    const ada = await join('ada')
    for (const frame of ['no json', '[]', 'null', '{"type":"gateway_dance"}', '{"type":7}']) ada.say(frame)
    expect(ada.got).toEqual([])
    expect(ada.closed).toBe(false)
  })

  it('takes sixty messages in a minute, and says so of those beyond', async () => {
    const [ada, bob] = [await join('ada'), await join('bob')]
    for (let count = 0; count < 61; count += 1)
      ada.say(
        count % 2 === 0
          ? { type: 'gateway_relay', targetMeshId: 'bob', payload: message }
          : { type: 'gateway_broadcast', payload: message },
      )
    expect(bob.got).toHaveLength(60)
    expect(ada.got).toEqual([rateLimited])
    await clock.advance(minute)
    ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    expect(bob.got).toHaveLength(61)
  })

  it('takes more of a gateway that paces itself, but no more broadcasts', async () => {
    const ada = connect()
    ada.say({ type: 'gateway_auth', meshId: 'ada', secret: 'a', sotto: 1 })
    await clock.advance(0)
    expect(ada.got).toEqual([
      { type: 'gateway_auth_ok', meshId: 'ada', name: 'ada’s', sotto: { messagesPerMinute: 1_200 } },
    ])
    const bob = await join('bob')
    for (let count = 0; count < 1_000; count += 1)
      ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    expect(bob.got).toHaveLength(1_000)
    ada.say({ type: 'gateway_broadcast', payload: message })
    expect(ada.last()).toEqual(rateLimited)
  })

  it('tells a gateway of ours unasked who comes and goes', async () => {
    const ada = await join('ada', { sotto: 1 })
    const bob = await join('bob')
    await clock.advance(1_000)
    expect(ada.last()).toMatchObject({ instances: [{ meshId: 'ada' }, { meshId: 'bob' }] })
    bob.gone()
    await clock.advance(1_000)
    expect(ada.last()).toMatchObject({ instances: [{ meshId: 'ada' }] })
    expect(bob.got).toEqual([])
  })

  it('limits how often one asks who is there', async () => {
    const ada = await join('ada')
    for (let count = 0; count < 200; count += 1) ada.say({ type: 'gateway_discover' })
    expect(ada.got.filter(({ type }) => type === 'gateway_discover_result')).toHaveLength(120)
    expect(ada.last()).toMatchObject({ type: 'error' })
  })

  it('ends at once who may be here no more', async () => {
    const [ada, bob] = [await join('ada'), await join('bob')]
    relay.keepOnly((meshId) => meshId === 'bob')
    expect([ada.closed, bob.closed]).toEqual([true, false])
    // Though its connection may take a while to end.
    ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    expect(bob.got).toEqual([])
  })
})

describe('a defect of the protocol’s first server', () => {
  it('reconnect-delete race: the end of an old connection leaves the new one its place', async () => {
    const old = await join('ada')
    const fresh = await join('ada')
    expect(old.closed).toBe(true)
    // The old one's close is seen only now.
    old.gone()
    const bob = await join('bob')
    bob.say({ type: 'gateway_relay', targetMeshId: 'ada', payload: message })
    expect(fresh.got).toHaveLength(1)
    expect(relay.meshes.map(({ meshId }) => meshId)).toEqual(['ada', 'bob'])
    expect(bob.got).toEqual([])
  })

  it('reconnect-delete race: nor does one whose place was taken speak in its name', async () => {
    const old = await join('ada')
    await join('ada')
    const bob = await join('bob')
    old.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    expect(bob.got).toEqual([])
  })

  it('reconnect-delete race: one that left while its secret was verified takes no place', async () => {
    let verified = (): void => {}
    verifying = new Promise<void>((settle) => {
      verified = settle
    })
    const left = connect()
    left.say({ type: 'gateway_auth', meshId: 'ada', secret: 'a' })
    left.gone()
    verified()
    await clock.advance(0)
    expect(relay.meshes).toEqual([])
    expect(seen).toEqual([])
  })

  it('unknown target dropped silently: it is told, in a frame that says which', async () => {
    const ada = await join('ada')
    ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    expect(ada.got).toEqual([
      {
        type: 'error',
        message: 'Unknown target: no mesh “bob” is connected',
        targetMeshId: 'bob',
      },
    ])
  })

  it('rate state reset by reconnecting: a new connection begins no new minute', async () => {
    const [first, bob] = [await join('ada'), await join('bob')]
    for (let count = 0; count < 60; count += 1)
      first.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    first.gone()
    const again = await join('ada')
    again.say({ type: 'gateway_relay', targetMeshId: 'bob', payload: message })
    expect(again.got).toEqual([rateLimited])
    expect(bob.got).toHaveLength(60)
  })

  it('one frame ends the server: a payload that is no object is refused', async () => {
    const [ada, bob] = [await join('ada'), await join('bob')]
    for (const payload of [undefined, null, 7, 'text', []])
      ada.say({ type: 'gateway_relay', targetMeshId: 'bob', payload })
    expect(ada.got.map((frame) => frame.message)).toEqual(Array(5).fill('Payload must be an object'))
    expect(bob.got).toEqual([])
  })

  it('two meshes over one connection: who is known as one is not let in as another', async () => {
    const ada = await join('ada')
    ada.say({ type: 'gateway_auth', meshId: 'bob', secret: 'b' })
    await clock.advance(0)
    expect(ada.last()).toEqual({ type: 'error', message: 'Already authenticated as ada' })
    expect(relay.meshes.map(({ meshId }) => meshId)).toEqual(['ada'])
  })

  it('unbounded lists: what a mesh says of itself is held within limits', async () => {
    const ada = await join('ada', { publicRooms: [7, ...Array(500).fill('room')], participants: 'all' })
    ada.say({ type: 'gateway_discover' })
    expect(ada.last()).toMatchObject({ instances: [{ publicRooms: Array(100).fill('room') }] })
  })
})

describe('whatever a mesh sends', () => {
  const odd = [null, 7, '', 'bob', [], {}, { type: 'x' }, ['bob'], { message: null }, { message: [{}] }, true]
  const types = [
    'gateway_auth',
    'gateway_discover',
    'gateway_relay',
    'gateway_broadcast',
    'gateway_update_participants',
    'gateway_update_rooms',
  ]
  const fields = ['meshId', 'secret', 'targetMeshId', 'payload', 'publicRooms', 'participants', 'sotto']

  it('ends neither the relay nor the others, and is answered within the limits', async () => {
    const [ada, bob] = [await join('ada'), await join('bob')]
    for (const type of types)
      for (const field of fields)
        for (const value of odd) ada.say({ type, targetMeshId: 'bob', payload: {}, [field]: value })
    await clock.advance(minute)
    expect(ada.got.length).toBeLessThanOrEqual(types.length * fields.length * odd.length)
    expect(bob.got.filter(({ type }) => type === 'gateway_incoming').length).toBeLessThanOrEqual(60)
    expect(bob.closed).toBe(false)
    bob.say({ type: 'gateway_discover' })
    expect(bob.last()).toMatchObject({ type: 'gateway_discover_result' })
  })
})

describe('our own gateway on its relay', () => {
  it('is a mesh like any other, without a wire', async () => {
    const got: unknown[] = []
    const own: OwnMesh = {
      meshId: 'home',
      name: 'home',
      incoming: (...what) => void got.push(what),
      changed() {},
      arrived() {},
    }
    const seat = relay.enter(own)
    const ada = await join('ada')
    ada.say({ type: 'gateway_relay', targetMeshId: 'home', payload: message })
    expect(got).toEqual([
      [
        'ada',
        'ada’s',
        { type: 'new_message', message: { id: '1', content: 'hello', trustLevel: 'federated' } },
      ],
    ])
    seat.relay('ada', '{"type":"x"}')
    expect(ada.last()).toEqual({
      type: 'gateway_incoming',
      fromMeshId: 'home',
      fromMeshName: 'home',
      payload: { type: 'x' },
    })
    expect(relay.meshes.map(({ meshId }) => meshId)).toEqual(['ada'])
    relay.keepOnly(() => true)
  })
})
