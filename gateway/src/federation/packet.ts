/**
 * What a gateway of ours puts into a relayed payload: several messages and how far the other side's were taken. It
 * stands in `message.content`, since a relay of the protocol's first kind lets only known fields through; a client
 * that knows nothing of Sotto passes over its `type`.
 */
import { z } from 'zod'
import type { Numbered, Taken } from './outbox.ts'

/** Of one message, as JSON. */
export const maxMessageBytes = 8 * 1024
/** Of a whole payload: a frame of 10 KiB has room for it and what stands around it. */
const maxPacketBytes = 9_600
const packetType = 'sotto'

const count = z.int().min(0)
const content = z.object({
  v: z.literal(1),
  /** How far the receiver's were taken: epoch and number. */
  a: z.tuple([count, count]),
  /** Left out where there are no messages: the epoch of their numbers, the first that has not arrived, and theirs. */
  e: count.optional(),
  b: count.optional(),
  s: count.optional(),
  m: z.array(z.tuple([z.string().max(64), z.unknown()])).default([]),
})
const payload = z.object({ type: z.literal(packetType), message: z.object({ content }) })

export interface Packet {
  readonly acknowledged: Taken
  readonly epoch: number
  /** The first number that the sender still has. */
  readonly base: number
  /** Number of the first message. */
  readonly start: number
  readonly messages: readonly { readonly kind: string; readonly body: unknown }[]
}

/** Undefined for what is none of ours. */
export function readPacket(sent: unknown): Packet | undefined {
  const read = payload.safeParse(sent)
  if (!read.success) return undefined
  const { a, e = 0, b = 0, s = 0, m } = read.data.message.content
  return {
    acknowledged: { epoch: a[0], number: a[1] },
    epoch: e,
    base: b,
    start: s,
    messages: m.map(([kind, body]) => ({ kind, body })),
  }
}

/** The payload, as JSON, with as many of the messages as have room in it, one at least; and how many these are. */
export function writePacket(
  acknowledged: Taken,
  row: { readonly epoch: number; readonly first: number },
  messages: readonly Numbered[],
): { readonly payload: string; readonly count: number } {
  const items: string[] = []
  let bytes = 0
  for (const { kind, body } of messages) {
    const item = `[${JSON.stringify(kind)},${body}]`
    bytes += Buffer.byteLength(item) + 1
    if (items.length > 0 && bytes > maxPacketBytes) break
    items.push(item)
  }
  const [first] = messages
  const numbers =
    first === undefined
      ? ''
      : `,"e":${row.epoch},"b":${row.first},"s":${first.number},"m":[${items.join(',')}]`
  const packed = `{"v":1,"a":[${acknowledged.epoch},${acknowledged.number}]${numbers}}`
  return { payload: `{"type":"${packetType}","message":{"content":${packed}}}`, count: items.length }
}
