/** Gateways with rooms of their own and a federation between them that can be cut; all of it in this process. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { Federation, Peer } from '#federation/federation.ts'
import { isRecord } from '#engines/json.ts'
import type { Member } from '#identity/caller.ts'
import type { RoomEvent } from '#protocol/rooms.ts'
import { nobodySpecial } from '#realtime/account.fixture.ts'
import { Failure } from '../failure.ts'
import type { Who } from './room.ts'
import { openRooms, type Rooms, type RoomsOptions } from './rooms.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

interface Sent {
  readonly to: string
  readonly kind: string
  readonly json: string
  readonly id: string
}

export interface Mesh {
  /** A gateway of this name, which knows all that were joined before and after. */
  join(name: string): Federation
  /** Nothing goes between them until it is mended. */
  cut(one: string, other: string): void
  mend(one: string, other: string): void
  /** What waits between them is no more, as when a friend was removed. */
  forget(from: string, to: string): void
  /** Sends as that gateway would, whatever it is. */
  forge(from: string, to: string, message: unknown): Promise<void>
  /** Delivers all that can be delivered, until nothing moves any more. */
  settle(): Promise<void>
  /** Types of what came to a gateway that nobody opened. */
  heard(name: string): string[]
  /** Id of the room of which one last told another. */
  lastRoom(from: string, to: string): string
  /** What a gateway has said to another and is not taken yet. */
  waiting(from: string, to: string): number
}

/** As the real one: on disk before `send` resolves, in order, again where it was not taken. */
export function createMesh(most = Infinity): Mesh {
  const names: string[] = []
  const takers = new Map<string, Parameters<Federation['receive']>[1]>()
  const listeners = new Set<() => void>()
  const outboxes = new Map<string, Sent[]>()
  const cuts = new Set<string>()
  const announced = new Map<string, readonly string[]>()
  const delivering = new Map<string, Promise<void>>()
  const lastRooms = new Map<string, string>()
  const way = (from: string, to: string) => `${from}→${to}`
  const changed = (): void => {
    for (const listener of listeners) listener()
  }
  const peer = (name: string, to: string): Peer => ({
    meshId: `mesh-${name}`,
    name,
    connected: !cuts.has(way(name, to)),
    rooms: announced.get(name) ?? [],
  })
  const deliver = async (from: string, to: string): Promise<void> => {
    const outbox = outboxes.get(way(from, to)) ?? []
    for (let [next] = outbox; next && !cuts.has(way(from, to)); [next] = outbox) {
      const take = takers.get(to)
      if (!take) return
      try {
        await take(peer(from, to), JSON.parse(next.json), next.id)
      } catch {
        return
      }
      if (outbox[0] === next) outbox.shift()
    }
  }
  const run = (from: string, to: string): void => {
    const key = way(from, to)
    const before = delivering.get(key) ?? Promise.resolve()
    delivering.set(
      key,
      before.then(() => deliver(from, to)),
    )
  }
  const push = (from: string, to: string, kind: string, message: unknown): void => {
    const key = way(from, to)
    const outbox = outboxes.get(key) ?? []
    outboxes.set(key, outbox)
    const json = JSON.stringify(message)
    if (Buffer.byteLength(json) > 8_192) throw new Error(`${Buffer.byteLength(json)} bytes are too many`)
    if (outbox.length >= most) throw new Failure('busy', 'Its outbox is full.')
    outbox.push({ to, kind, json, id: crypto.randomUUID() })
    const read: unknown = message
    if (isRecord(read) && typeof read.room === 'string') lastRooms.set(key, read.room)
    run(from, to)
  }
  const known = (meshId: string): string => {
    const name = names.find((one) => `mesh-${one}` === meshId)
    if (name === undefined) throw new Failure('not_found', 'There is no such peer.')
    return name
  }
  return {
    join(name) {
      if (!names.includes(name)) names.push(name)
      changed()
      return {
        self: { meshId: `mesh-${name}`, name },
        get peers() {
          return names.filter((one) => one !== name).map((one) => peer(one, name))
        },
        watch(listener) {
          listeners.add(listener)
          return () => listeners.delete(listener)
        },
        send: async (meshId, kind, message) => push(name, known(meshId), kind, message),
        receive(_, take) {
          takers.set(name, take)
          for (const other of names) run(other, name)
        },
        announce(rooms) {
          announced.set(name, rooms)
          changed()
        },
      }
    },
    cut(one, other) {
      cuts.add(way(one, other)).add(way(other, one))
      changed()
    },
    mend(one, other) {
      for (const key of [way(one, other), way(other, one)]) cuts.delete(key)
      changed()
      run(one, other)
      run(other, one)
    },
    forget: (from, to) => void outboxes.delete(way(from, to)),
    async forge(from, to, message) {
      push(from, to, 'room', message)
    },
    async settle() {
      // Each step may set off others, on disk in between.
      for (let quiet = 0; quiet < 4;) {
        const before = JSON.stringify([...outboxes.values()])
        await Promise.all(delivering.values())
        await new Promise((settle) => setTimeout(settle, 40))
        quiet = JSON.stringify([...outboxes.values()]) === before ? quiet + 1 : 0
      }
    },
    heard: (name) =>
      names
        .flatMap((from) => outboxes.get(way(from, name)) ?? [])
        .map(({ json }) => String(JSON.parse(json).type)),
    lastRoom: (from, to) => lastRooms.get(way(from, to)) ?? '',
    waiting: (from, to) => outboxes.get(way(from, to))?.length ?? 0,
  }
}

export interface Gateway {
  readonly rooms: Rooms
  readonly file: string
  who(name: string): Who
  /** Writes as a person; resolves to the message's id. */
  say(name: string, room: string, text: string): Promise<string>
  /** The room of this name, as a person has it. */
  room(name: string, called: string): Promise<string>
  /** What is there, in order, by those who wrote it. */
  said(name: string, room: string): Promise<string[]>
  /** Somebody leaves this gateway. */
  forget(name: string): void
  /** Closes it, and opens it again with what is on its disk. */
  restart(): Promise<void>
  close(): Promise<void>
}

type Engines = Pick<RoomsOptions, 'engines'>['engines']

export interface GatewayOptions {
  /** The first is the admin. */
  readonly people: readonly string[]
  readonly engines?: Engines
  readonly admission?: RoomsOptions['admission']
  readonly recorder?: RoomsOptions['recorder']
  readonly pace?: RoomsOptions['pace']
}

/** Those whom nothing holds. */
export function memberOf(name: string): Member {
  return { ...nobodySpecial.caller, personId: name, person: name }
}

export async function openGateway(mesh: Mesh, name: string, options: GatewayOptions): Promise<Gateway> {
  const folder = await mkdtemp(join(tmpdir(), `sotto-rooms-${name}-`))
  const file = join(folder, 'rooms.db')
  const people = options.people.map((one) => ({ id: one, name: one, tenantId: 'home' }))
  const open = () =>
    openRooms({
      file,
      federation: mesh.join(name),
      people: async () => people,
      engines: options.engines ?? speechless,
      admission: options.admission ?? nobodySpecial.admission,
      recorder: options.recorder ?? nobodySpecial.recorder,
      log: { error: (what) => problems.push(what), warn() {} },
      ...(options.pace && { pace: options.pace }),
    })
  const problems: unknown[] = []
  let rooms = await open()
  const close = async (): Promise<void> => {
    await rooms.close()
    await rm(folder, { recursive: true, force: true })
    if (problems.length > 0) throw new Error('it logged errors', { cause: problems })
  }
  closers.push(close)
  const who = (person: string): Who => ({
    id: person,
    name: person,
    admin: person === options.people[0],
  })
  return {
    get rooms() {
      return rooms
    },
    file,
    who,
    async say(person, room, text) {
      const id = crypto.randomUUID()
      const caller = memberOf(person)
      await rooms.post({ who: who(person), caller, address: '10.77.0.2', room }, { id, text })
      return id
    },
    async room(person, called) {
      const { rooms: all } = await rooms.list(who(person))
      const found = all.find((one) => one.name === called)
      if (!found) throw new Error(`${person} is in no room ${called}`)
      return found.id
    },
    async said(person, room) {
      const { messages } = await rooms.page(who(person), room, { limit: 10_000 })
      return messages.map(({ author, text, deleted, state }) => {
        const by = author.gateway === null ? author.name : `${author.name}@${author.gateway}`
        return `${by}: ${deleted ? '(deleted)' : text}${state === 'sent' ? '' : ` (${state})`}`
      })
    },
    forget: (person) =>
      void people.splice(
        people.findIndex(({ id }) => id === person),
        1,
      ),
    async restart() {
      await rooms.close()
      rooms = await open()
    },
    close,
  }
}

/** Resolves when an event comes that is as wanted; rejects where it does not. */
export function waitFor(
  { rooms, who }: Gateway,
  person: string,
  wanted: (event: RoomEvent) => boolean,
): Promise<RoomEvent> {
  return new Promise((settle, fail) => {
    const timer = setTimeout(() => fail(new Error('the event did not come')), 5_000)
    const leave = rooms.follow(who(person), (event) => {
      if (!wanted(event)) return
      clearTimeout(timer)
      leave()
      settle(event)
    })
  })
}

const speechless: Engines = {
  chat: {
    kind: 'ollama',
    async *chat() {},
    async warm() {},
  },
  states: {
    chat: { kind: 'ollama', ready: true, models: [] },
    transcription: { kind: 'demo', ready: true, models: [] },
  },
}

/** An engine that says these pieces, or fails. */
export function engineThat(
  answer: (
    text: string,
    prompt: readonly { readonly role: string; readonly content: string }[],
    signal: AbortSignal,
  ) => AsyncIterable<string>,
  models: readonly string[] = ['llama3.2:latest', 'qwen3:8b'],
): Engines {
  return {
    ...speechless,
    chat: {
      kind: 'ollama',
      async *chat({ messages, model, onUsage }, signal) {
        let output = 0
        for await (const piece of answer(model ?? '', messages, signal)) {
          output += 1
          yield piece
        }
        onUsage?.({ input: 1, output, cut: false })
      },
      async warm() {},
    },
    states: { ...speechless.states, chat: { kind: 'ollama', ready: true, models } },
  }
}
