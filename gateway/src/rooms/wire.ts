/**
 * What gateways tell each other of rooms, by the federation's messages of the kind `room`. A room's home orders what
 * is said: others send it theirs (`say`) and get it back with its place (`message`), like everything else that changes.
 * Each such change has the next number of the room, `changed`; `after` is the one that was told before it, so that who
 * has missed some asks for them again (`sync`).
 *
 * Nobody says whose gateway a message is from: the receiver knows by whom it was sent.
 */
import { z } from 'zod'
import { limits, oneLine } from './room.ts'

const room = z.uuid()
const id = z.uuid()
const line = z.string().trim().min(1).regex(oneLine)
const name = line.max(limits.name)
/** Of a person or a gateway. */
const who = line.max(limits.personName)
const number = z.int().min(0)
const names = z.array(who).max(limits.people)
const change = { room, after: number, changed: number }
const content = {
  id,
  version: z.int().min(1).max(10_000),
  author: who,
  text: z.string().max(limits.textBytes),
  at: z.int().min(0).max(8_640_000_000_000),
  edited: z.int().min(0).max(8_640_000_000_000).nullable(),
  deleted: z.boolean(),
  reply: id.nullable(),
  model: line.max(100).nullable(),
}

/** From a room's home. */
const fromHome = z.discriminatedUnion('type', [
  z.object({ type: z.literal('invite'), room, name, by: who }),
  /** You are in it, from `sequence` on; what is there now comes next. */
  z.object({ type: z.literal('welcome'), room, name, sequence: number }),
  /** It is over, or you are in it no more. */
  z.object({ type: z.literal('removed'), room }),
  /** Of a wish to join: no. */
  z.object({ type: z.literal('declined'), name }),
  /** What you said is not taken. */
  z.object({ type: z.literal('refused'), room, id, version: number }),
  z.object({ type: z.literal('name'), ...change, name }),
  z.object({
    type: z.literal('people'),
    ...change,
    /** Null for the home's own. */
    gateway: z.object({ mesh: z.string().min(1).max(200), name: who }).nullable(),
    /** Empty for one that is in it no more. */
    names,
  }),
  z.object({
    type: z.literal('message'),
    ...change,
    ...content,
    sequence: number,
    /** Whose it is: the home's, the receiver's own, or that of another gateway by its mesh id. */
    from: z.union([z.enum(['home', 'you']), z.object({ mesh: z.string().min(1).max(200) })]),
  }),
])

/** To a room's home. */
const toHome = z.discriminatedUnion('type', [
  /** May we join the public room of this name? */
  z.object({ type: z.literal('ask'), name, by: who }),
  z.object({ type: z.literal('accept'), room, names }),
  /** Of ours, those are in it now. */
  z.object({ type: z.literal('names'), room, names }),
  z.object({ type: z.literal('leave'), room }),
  /** Say again what came after. */
  z.object({ type: z.literal('sync'), room, after: number }),
  /** A message of ours, new or changed. */
  z.object({ type: z.literal('say'), room, ...content }),
])

export const frame = z.union([fromHome, toHome])

export type FromHome = z.infer<typeof fromHome>
/** What changed at a room's home. */
export type Told = Extract<FromHome, { after: number }>
export type ToHome = z.infer<typeof toHome>
export type Frame = FromHome | ToHome

export function isFromHome(read: Frame): read is FromHome {
  return fromHome.options.some(({ shape }) => shape.type.value === read.type)
}
