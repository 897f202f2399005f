/**
 * Rooms: what the people of this gateway, those of friends' gateways and the assistant write to each other. Everything
 * here is as one person has it; who is in no room sees nothing of it.
 */
import type { SnippetPart } from './conversations.ts'

/** `GET /sotto/rooms` */
export interface RoomList {
  /** Who asks, by the id that `RoomAuthor` and `RoomMember` have. */
  readonly self: { readonly person: string; readonly name: string }
  /** Those with news first. */
  readonly rooms: readonly Room[]
  /** Friends' rooms that this gateway's people were asked into; for the admin, who says who is in. */
  readonly invitations: readonly RoomInvitation[]
  /** Friends' public rooms that one has asked to join. */
  readonly asked: readonly { readonly friend: string; readonly name: string }[]
  readonly friends: readonly RoomFriend[]
}

export interface RoomFriend {
  readonly name: string
  readonly connected: boolean
  /** Names of the rooms that it announces. */
  readonly rooms: readonly string[]
}

/** `POST /sotto/rooms/:id/accept {people}`, or `DELETE /sotto/rooms/:id/invitation` */
export interface RoomInvitation {
  readonly id: string
  readonly name: string
  readonly friend: string
  /** Who of theirs asks. */
  readonly by: string
}

export interface Room {
  readonly id: string
  readonly name: string
  /** The friend whose gateway keeps it and orders what is said; null for one of ours. */
  readonly home: string | null
  /** Whether what is said goes to its home at once; true for one of ours. */
  readonly connected: boolean
  /** `closed`: its home ended it, or us in it. It can be read, and left. */
  readonly state: 'open' | 'closed'
  readonly role: 'owner' | 'member'
  /** Whether friends see it and may ask to join. */
  readonly public: boolean
  /** What the assistant is told beforehand, by this gateway. */
  readonly instructions: string
  /** Which model answers to `@sotto`; null for the first there is. */
  readonly model: string | null
  readonly muted: boolean
  readonly unread: number
  /** Of the last message; 0 where there is none. `PUT /sotto/rooms/:id/own {"read": sequence}` */
  readonly sequence: number
  readonly last: { readonly author: string; readonly text: string; readonly at: string } | null
  /** ISO 8601, as all times here. */
  readonly updatedAt: string
  /** People of this gateway, the owner first. */
  readonly members: readonly RoomMember[]
  /** Gateways of others that are in it, were asked, or ask. */
  readonly gateways: readonly RoomGateway[]
}

export interface RoomMember {
  readonly person: string
  readonly name: string
  readonly role: 'owner' | 'member'
}

export interface RoomGateway {
  readonly name: string
  /** The friend who says so, where it is none of ours. */
  readonly via: string | null
  readonly state: 'joined' | 'invited' | 'asking'
  readonly connected: boolean
  readonly people: readonly string[]
}

export interface RoomAuthor {
  readonly name: string
  /** Null for people of this gateway. */
  readonly gateway: string | null
  /** The friend whose word it is that it was them, where their gateway does not speak to ours. */
  readonly via: string | null
  /** Null for people of others. */
  readonly person: string | null
}

export interface RoomMessage {
  readonly id: string
  readonly room: string
  /** Its place, the same on every gateway; null while the room's home has not given it one. */
  readonly sequence: number | null
  /** Grows with each change of a message on this gateway. Of two states of one message, that with the higher one counts. */
  readonly revision: number
  /** Of an answer of the assistant's: who called it. */
  readonly author: RoomAuthor
  /** The model whose answer it is; null for people. */
  readonly model: string | null
  /** Markdown; empty where it was deleted. */
  readonly text: string
  readonly at: string
  readonly editedAt: string | null
  readonly deleted: boolean
  /** Id of the message that it answers. */
  readonly reply: string | null
  /** `pending`: its home has not got it yet, or not its last change. `refused`: its home does not take it. */
  readonly state: 'sent' | 'pending' | 'refused'
}

/** `GET /sotto/rooms/:id/messages?before=SEQUENCE&limit=50`: in order, those that are pending last. */
export interface RoomPage {
  readonly messages: readonly RoomMessage[]
  /** Whether there are more before them. */
  readonly earlier: boolean
}

/** `GET /sotto/rooms/search?words=…`: the newest first. */
export interface RoomsFound {
  readonly messages: readonly RoomFound[]
}

export interface RoomFound {
  readonly room: string
  readonly message: RoomMessage
  /** Where the words stand, in pieces: text of people, never markup. */
  readonly snippet: readonly SnippetPart[]
}

/** `GET /sotto/rooms/people`: whom one may take into a room. */
export interface RoomPeople {
  readonly people: readonly { readonly person: string; readonly name: string }[]
}

/** What the assistant writes at this moment; the message that comes of it has the same id. */
export interface RoomDraft {
  readonly id: string
  readonly room: string
  readonly model: string
  readonly author: RoomAuthor
  /** All of it so far. */
  readonly text: string
  readonly state: 'writing' | 'failed' | 'ended'
  /** Why it failed; only who called it is told. */
  readonly problem: string | null
}

/**
 * `GET /sotto/rooms/events`: server-sent events, each with one of these as its data. The id of an event is a revision:
 * sent back as `Last-Event-ID`, what was missed comes first.
 */
export type RoomEvent =
  /** The first. `missed`: too much was said meanwhile, read the messages again. */
  | { readonly type: 'hello'; readonly list: RoomList; readonly missed: boolean }
  /** Friends, invitations or rooms are others now. */
  | { readonly type: 'list'; readonly list: RoomList }
  | { readonly type: 'room'; readonly room: Room }
  /** One is in it no more. */
  | { readonly type: 'gone'; readonly room: string }
  | { readonly type: 'message'; readonly message: RoomMessage }
  | { readonly type: 'draft'; readonly draft: RoomDraft }
