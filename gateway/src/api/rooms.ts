/** Rooms over HTTP: for people, by their devices and keys. */
import { z } from 'zod'
import { requireService } from '#admission/admission.ts'
import type { RoomList } from '#protocol/rooms.ts'
import { limits, oneLine, type Who } from '#rooms/room.ts'
import { Failure } from '../failure.ts'
import { readJson } from './body.ts'
import { ownDialect } from './envelope.ts'
import { roomEvents, type RoomDeps } from './room-events.ts'
import type { Call, Route } from './route.ts'

const name = z
  .string()
  .trim()
  .min(1, 'is empty')
  .max(limits.name, `is longer than ${limits.name} characters`)
  .regex(oneLine, 'is one line, without control characters')
const options = {
  public: z.boolean().exactOptional(),
  instructions: z
    .string()
    .trim()
    .max(limits.instructions, `is longer than ${limits.instructions} characters`)
    .exactOptional(),
  model: z.string().min(1).max(100).nullable().exactOptional(),
}
const making = z.object({ name, ...options })
const changing = z
  .object({ name: name.exactOptional(), ...options })
  .refine((wish) => Object.keys(wish).length > 0, 'nothing to change is there')
const own = z
  .object({ read: z.int().min(0).exactOptional(), muted: z.boolean().exactOptional() })
  .refine((wish) => Object.keys(wish).length > 0, 'neither read nor muted is there')
const text = z.string().max(4 * limits.textBytes, 'is longer than a message may be')
const posting = z.object({
  id: z.uuid('is a UUID that you make'),
  text,
  reply: z.uuid('is the id of a message').exactOptional(),
})
const editing = z.object({ text })
const taking = z.object({ person: z.string().min(1).max(64) })
const inviting = z.object({ friend: z.string().min(1).max(200) })
const accepting = z.object({ people: z.array(z.string().max(64)).min(1).max(limits.people) })
const asking = z.object({ friend: z.string().min(1).max(200), room: name })
const limit = z.coerce.number().int().min(1).max(100)
const sequence = z.coerce.number().int().min(0)

const headers = { 'cache-control': 'no-store' }
const pageSize = 50

export function roomRoutes(deps: RoomDeps): Route[] {
  const { rooms } = deps
  const route = { group: 'member', dialect: ownDialect } as const
  const place = '/sotto/rooms'
  return [
    {
      ...route,
      method: 'GET',
      path: place,
      summary: 'One’s rooms, invitations to them, and friends with their public rooms',
      quiet: true,
      async handle(call) {
        const list: RoomList = await rooms.list(whoOf(call))
        return call.c.json(list, 200, headers)
      },
    },
    {
      ...route,
      method: 'POST',
      path: place,
      summary: 'Make a room',
      body: making,
      async handle(call) {
        return call.c.json(await rooms.create(whoOf(call), await read(call, making)), 201, headers)
      },
    },
    roomEvents(deps, whoOf),
    {
      ...route,
      method: 'GET',
      path: `${place}/people`,
      summary: 'Whom one may take into a room',
      quiet: true,
      async handle(call) {
        return call.c.json(await rooms.people(whoOf(call)), 200, headers)
      },
    },
    {
      ...route,
      method: 'GET',
      path: `${place}/search`,
      summary: 'Messages of one’s rooms: ?words=WORDS&limit=N',
      quiet: true,
      async handle(call) {
        const count = number(call, 'limit', limit) ?? pageSize
        const words = call.c.req.query('words') ?? ''
        return call.c.json(await rooms.search(whoOf(call), words, count), 200, headers)
      },
    },
    {
      ...route,
      method: 'POST',
      path: `${place}/asks`,
      summary: 'Ask a friend to be let into one of its public rooms',
      body: asking,
      async handle(call) {
        const { friend, room } = await read(call, asking)
        await rooms.ask(whoOf(call), friend, room)
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'DELETE',
      path: `${place}/answers/:answer`,
      summary: 'Stop an answer that one has called for',
      handle(call) {
        rooms.stop(whoOf(call), param(call, 'answer'))
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'GET',
      path: `${place}/:id`,
      summary: 'One room',
      quiet: true,
      async handle(call) {
        return call.c.json(await rooms.room(whoOf(call), param(call, 'id')), 200, headers)
      },
    },
    {
      ...route,
      method: 'PATCH',
      path: `${place}/:id`,
      summary: 'Name a room, announce it, or say how its assistant is',
      body: changing,
      async handle(call) {
        const wish = await read(call, changing)
        return call.c.json(await rooms.change(whoOf(call), param(call, 'id'), wish), 200, headers)
      },
    },
    {
      ...route,
      method: 'DELETE',
      path: `${place}/:id`,
      summary: 'End a room, for everybody',
      async handle(call) {
        await rooms.delete(whoOf(call), param(call, 'id'))
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'PUT',
      path: `${place}/:id/own`,
      summary: 'How far one has read, and whether it is muted',
      body: own,
      quiet: true,
      async handle(call) {
        await rooms.setOwn(whoOf(call), param(call, 'id'), await read(call, own))
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'GET',
      path: `${place}/:id/messages`,
      summary: 'Messages of a room, the last or those right before a place: ?before=SEQUENCE&limit=N',
      quiet: true,
      async handle(call) {
        const page = {
          before: number(call, 'before', sequence),
          limit: number(call, 'limit', limit) ?? pageSize,
        }
        return call.c.json(await rooms.page(whoOf(call), param(call, 'id'), page), 200, headers)
      },
    },
    {
      ...route,
      method: 'POST',
      path: `${place}/:id/messages`,
      summary: 'Write a message; one that calls @sotto or a model is answered',
      body: posting,
      async handle(call) {
        const { caller, incoming } = call
        const wish = await read(call, posting)
        const { remoteAddress: address = '' } = incoming.socket
        const room = param(call, 'id')
        return call.c.json(await rooms.post({ who: whoOf(call), caller, address, room }, wish), 201, headers)
      },
    },
    {
      ...route,
      method: 'PATCH',
      path: `${place}/:id/messages/:message`,
      summary: 'Change a message of one’s own',
      body: editing,
      async handle(call) {
        const { text: wanted } = await read(call, editing)
        const changed = await rooms.edit(whoOf(call), param(call, 'id'), param(call, 'message'), wanted)
        return call.c.json(changed, 200, headers)
      },
    },
    {
      ...route,
      method: 'DELETE',
      path: `${place}/:id/messages/:message`,
      summary: 'Delete a message of one’s own',
      async handle(call) {
        await rooms.deleteMessage(whoOf(call), param(call, 'id'), param(call, 'message'))
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'POST',
      path: `${place}/:id/members`,
      summary: 'Take a person of this gateway in',
      body: taking,
      async handle(call) {
        const { person } = await read(call, taking)
        return call.c.json(await rooms.addPerson(whoOf(call), param(call, 'id'), person), 200, headers)
      },
    },
    {
      ...route,
      method: 'DELETE',
      path: `${place}/:id/members/:person`,
      summary: 'Take a person out; oneself: leave. The last one to leave ends it',
      async handle(call) {
        await rooms.removePerson(whoOf(call), param(call, 'id'), param(call, 'person'))
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'POST',
      path: `${place}/:id/friends`,
      summary: 'Ask a friend’s people in, or let one in that asked',
      body: inviting,
      async handle(call) {
        const { friend } = await read(call, inviting)
        await rooms.inviteFriend(whoOf(call), param(call, 'id'), friend)
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'DELETE',
      path: `${place}/:id/friends/:friend`,
      summary: 'End a friend’s part in a room, or say no to its wish',
      async handle(call) {
        await rooms.removeFriend(whoOf(call), param(call, 'id'), param(call, 'friend'))
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'POST',
      path: `${place}/:id/accept`,
      summary: 'Take up a friend’s invitation: who of this gateway is in. For the admin',
      body: accepting,
      async handle(call) {
        const { people } = await read(call, accepting)
        await rooms.accept(whoOf(call), param(call, 'id'), people)
        return call.c.body(null, 204)
      },
    },
    {
      ...route,
      method: 'DELETE',
      path: `${place}/:id/invitation`,
      summary: 'Decline a friend’s invitation. For the admin',
      async handle(call) {
        await rooms.decline(whoOf(call), param(call, 'id'))
        return call.c.body(null, 204)
      },
    },
  ]
}

/** Throws a `Failure` for what is no person's, and for a key that may not use rooms. */
function whoOf({ caller }: Call): Who {
  requireService(caller, 'rooms')
  const { personId: id, person, admin } = caller
  if (id === undefined || person === undefined)
    throw new Failure('forbidden', 'Rooms are for people, and this machine is nobody’s.', undefined, {
      detail: 'person_needed',
      remedy: 'Open them on a device of yours, or send a key of yours.',
    })
  return { id, name: person, admin }
}

async function read<T>({ incoming }: Call, schema: z.ZodType<T>): Promise<T> {
  const wish = schema.safeParse(await readJson(incoming))
  if (wish.success) return wish.data
  const [issue] = wish.error.issues
  throw new Failure('invalid', `${issue?.path.join('.') || 'The body'}: ${issue?.message}.`)
}

function param({ c }: Call, which: string): string {
  return c.req.param(which) ?? ''
}

function number({ c }: Call, which: string, schema: z.ZodType<number>): number | undefined {
  const said = c.req.query(which)
  if (said === undefined) return undefined
  const wish = schema.safeParse(said)
  if (wish.success) return wish.data
  throw new Failure(
    'invalid',
    which === 'limit' ? 'limit: send a number from 1 to 100.' : `${which}: send a place.`,
  )
}
