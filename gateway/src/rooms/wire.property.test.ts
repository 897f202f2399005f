/** What a friend's gateway may say of rooms: it is read or passed over, and what is not its own stays as it is. */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { jsonText, jsonValue, mutated } from '#engines/json.fixture.ts'
import { createMesh, openGateway } from './gateways.fixture.ts'
import { frame, isFromHome } from './wire.ts'

const line = fc.stringMatching(/^[a-z][a-z0-9 ]{0,20}[a-z]$/)
const number = fc.nat({ max: 50 })
const content = {
  id: fc.uuid(),
  version: fc.integer({ min: 1, max: 10_000 }),
  author: fc.constantFrom('ada', 'mallory', 'eve'),
  text: fc.string({ unit: 'binary', maxLength: 500 }),
  at: fc.nat(),
  edited: fc.option(fc.nat()),
  deleted: fc.boolean(),
  reply: fc.option(fc.uuid()),
  model: fc.option(line),
}

/** @param room of which it is */
function frames(room: fc.Arbitrary<string>) {
  const names = fc.array(fc.constantFrom('ada', 'mallory'), { maxLength: 3 })
  const change = { room, after: number, changed: number }
  const mesh = fc.constantFrom('mesh-home', 'mesh-mallory', '__proto__')
  const of = (type: string, fields: Record<string, fc.Arbitrary<unknown>>) =>
    fc.record({ type: fc.constant(type), ...fields })
  return fc.oneof(
    of('invite', { room, name: line, by: line }),
    of('welcome', { room, name: line, sequence: number }),
    of('removed', { room }),
    of('declined', { name: line }),
    of('refused', { room, id: fc.uuid(), version: number }),
    of('name', { ...change, name: line }),
    of('people', { ...change, gateway: fc.option(fc.record({ mesh, name: line })), names }),
    of('message', {
      ...change,
      ...content,
      sequence: number,
      from: fc.oneof(fc.constantFrom('home', 'you'), fc.record({ mesh })),
    }),
    of('ask', { name: fc.constantFrom('garden', 'cellar'), by: line }),
    of('accept', { room, names }),
    of('names', { room, names }),
    of('leave', { room }),
    of('sync', { room, after: number }),
    of('say', { room, ...content }),
  )
}

it('what is right is taken as it is', () => {
  fc.assert(
    fc.property(frames(fc.uuid()), (right) => {
      const read = frame.parse(right)
      expect(read).toEqual(right)
      expect(typeof isFromHome(read)).toBe('boolean')
    }),
    { numRuns: 500 },
  )
})

it('whatever else comes is taken or refused, and reaches no prototype', () => {
  const any = fc.oneof(jsonValue, mutated(frames(fc.uuid())))
  fc.assert(
    fc.property(any, (text) => {
      const { success, data } = frame.safeParse(text)
      if (success) expect(Object.getPrototypeOf(data)).toBe(Object.prototype)
      expect(Object.keys(Object.prototype)).toEqual([])
    }),
    { numRuns: 1_000 },
  )
})

it('a friend in no room of ours can say anything, and none of it stays in the way or in the room', async () => {
  const mesh = createMesh()
  const home = await openGateway(mesh, 'home', { people: ['ada'] })
  mesh.join('mallory')
  const ada = home.who('ada')
  const { id: room } = await home.rooms.create(ada, { name: 'garden' })
  await home.say('ada', room, 'Between us')
  await mesh.settle()
  const before = await home.rooms.room(ada, room)
  const any = frames(fc.oneof(fc.constant(room), fc.uuid()))
  const sent = fc.oneof(
    any,
    mutated(any),
    jsonText.map((text) => JSON.parse(text) as unknown),
  )
  const small = sent.filter((one) => Buffer.byteLength(JSON.stringify(one) ?? '') < 8_000)
  await fc.assert(
    fc.asyncProperty(fc.array(small, { minLength: 10, maxLength: 30 }), async (all) => {
      for (const one of all) await mesh.forge('mallory', 'home', one)
      await mesh.settle()
      expect(mesh.waiting('mallory', 'home')).toBe(0)
      expect(await home.said('ada', room)).toEqual(['ada: Between us'])
      expect(await home.rooms.room(ada, room)).toEqual(before)
    }),
    { numRuns: 15 },
  )
})
