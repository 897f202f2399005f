/**
 * The mesh relay's protocol: JSON text frames over a WebSocket at `/gateway`. Its first server was the Mesh Gateway;
 * its clients know nothing of Sotto, so names, limits and error texts are its own. What we add stands in a field
 * `sotto`, which it ignores.
 */
import { z } from 'zod'
import { isRecord, parseJson } from '#engines/json.ts'

export const relayPath = '/gateway'

/** Of a whole frame, in UTF-16 units, as the protocol's first server counts. */
export const maxFrameLength = 10 * 1024
/** Relayed and broadcast together, of one mesh. */
export const messagesPerMinute = 60
/** Relayed, of a mesh that paces itself; broadcasts stay as they are. */
export const sottoMessagesPerMinute = 1_200
/** Within which a connection says who it is. */
export const authMs = 10_000

const text = z.string().max(200)
const participant = z.object({ id: text, name: text, type: text })
/** As much of what a mesh says of itself as all others can be told. */
const rooms = listOf(text, 100)
const participants = listOf(participant, 200)

/** What a mesh sends. */
const sent = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('gateway_auth'),
    meshId: z.string(),
    secret: z.string(),
    publicRooms: rooms,
    participants,
    /** It paces itself, and is told of others as they come and go. */
    sotto: z.literal(1).optional().catch(undefined),
  }),
  z.object({ type: z.literal('gateway_discover') }),
  z.object({ type: z.literal('gateway_relay'), targetMeshId: z.string(), payload: z.unknown().optional() }),
  z.object({ type: z.literal('gateway_broadcast'), payload: z.unknown().optional() }),
  z.object({ type: z.literal('gateway_update_participants'), participants }),
  z.object({ type: z.literal('gateway_update_rooms'), publicRooms: rooms }),
])
export type Sent = z.infer<typeof sent>
export type Auth = Extract<Sent, { type: 'gateway_auth' }>
/** What only a mesh that said who it is may send. */
export type Request = Exclude<Sent, Auth>

const instance = z.object({ meshId: z.string(), name: z.string(), publicRooms: rooms })
export type Instance = z.infer<typeof instance>

/** What a relay sends, as far as a gateway that joined it reads it. */
const received = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('gateway_auth_ok'),
    meshId: z.string(),
    name: z.string(),
    sotto: z
      .object({ messagesPerMinute: z.int().min(1) })
      .optional()
      .catch(undefined),
  }),
  z.object({ type: z.literal('gateway_auth_error'), message: z.string() }),
  z.object({ type: z.literal('gateway_discover_result'), instances: z.array(instance) }),
  z.object({
    type: z.literal('gateway_incoming'),
    fromMeshId: z.string(),
    fromMeshName: z.string(),
    payload: z.unknown(),
  }),
  z.object({ type: z.literal('error'), message: z.string(), targetMeshId: z.string().optional() }),
])
export type Received = z.infer<typeof received>

export type Participant = z.infer<typeof participant>

function listOf<Item>(item: z.ZodType<Item>, most: number) {
  return z
    .array(z.unknown())
    .catch([])
    .transform((list) => list.flatMap((one) => item.safeParse(one).data ?? []).slice(0, most))
}

export function relayError(message: string) {
  return { type: 'error', message } as const
}

/** Undefined for what is no frame of the protocol: that is passed over in silence. */
export function readSent(frame: string): Sent | undefined {
  return sent.safeParse(parseJson(frame)).data
}

/** The same of a relay's frames. */
export function readReceived(frame: string): Received | undefined {
  return received.safeParse(parseJson(frame)).data
}

const messageFields = [
  'id',
  'roomId',
  'senderId',
  'senderName',
  'content',
  'isDm',
  'createdAt',
  'fromMesh',
  'fromMeshId',
  'roomName',
] as const

/** What is let through of a payload: two fields, and of its message eleven, one of which we say. */
export function cleanPayload(payload: unknown): object | undefined {
  if (!isRecord(payload)) return undefined
  const { type, message } = payload
  return {
    ...(type !== undefined && { type }),
    ...(message !== undefined && { message: isRecord(message) ? cleanMessage(message) : message }),
  }
}

function cleanMessage(message: Readonly<Record<string, unknown>>): object {
  const kept = messageFields.filter((field) => Object.hasOwn(message, field))
  return {
    ...Object.fromEntries(kept.map((field) => [field, message[field]])),
    trustLevel: 'federated',
  }
}
