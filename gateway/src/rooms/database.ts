/** The rooms' own file. A message is its own outbox: what of it went to whom is in its row and in its parties'. */
import { openStore } from '@sotto/provisioning/database.ts'
import { sql, type Generated, type Kysely, type Selectable } from 'kysely'
import type { Migration } from 'kysely/migration'
import { createMessageSearch } from './search.ts'

export interface RoomTable {
  id: string
  /** Mesh id of the gateway that keeps it and orders what is said; empty for ours. */
  home: string
  /** Its id there. */
  remote: string
  name: string
  /** 1 where it is announced to friends. */
  public: number
  instructions: string
  model: string | null
  /** Of the last change that its home made, or that came from there. Each change takes the next number. */
  sequence: number
  /** When its name was changed, as a sequence. */
  changed: number
  /**
   * `invited`: nobody of ours is in it yet. `joining`: its home does not know yet who is. `closed`: its home ended
   * it, or us in it.
   */
  state: 'open' | 'invited' | 'joining' | 'closed'
  /** Who of the friend's asked us in. */
  inviter: string
  /** Milliseconds since the epoch, as all times here. */
  created_at: number
  updated_at: number
}

/** A person of this gateway in a room. */
export interface MemberTable {
  room_id: string
  person_id: string
  role: 'owner' | 'member'
  muted: number
  read_sequence: number
  joined_at: number
}

/** A gateway in a room; empty `mesh` for ourselves. */
export interface PartyTable {
  room_id: string
  mesh: string
  /** Its name, as the room's home says it. */
  label: string
  /** JSON list of its people's names. */
  names: string
  /** `gone`: it stays for those who do not know yet. */
  state: 'joined' | 'invited' | 'asking' | 'gone'
  /** When its people changed, as a sequence. */
  changed: number
  /** For the room's home: as far as this sequence it was told what concerns it, and the last that did. */
  sent: number
  told: number
  /** What was said before is not for it. */
  since: number
}

export interface MessageTable {
  number: Generated<number>
  room_id: string
  id: string
  /** Its place; null until the room's home has given it one. */
  sequence: number | null
  /** When it was changed last, as a sequence. */
  changed: number
  /** Counted by its author's gateway. */
  version: number
  /** What of it was sent to the room's home, and what came back from there. */
  sent_version: number
  known_version: number
  /** The author's gateway; empty for ours. */
  mesh: string
  author: string
  person_id: string | null
  model: string | null
  reply: string | null
  text: string
  at: number
  edited_at: number | null
  deleted: number
  refused: number
  /** Of this gateway: grows with each change of any message. */
  revision: number
}

/** What is for a peer, but not in a message: it goes before these. */
export interface OutgoingTable {
  number: Generated<number>
  mesh: string
  json: string
}

/** A friend's public room that a person wants to join. */
export interface AskTable {
  mesh: string
  name: string
  person_id: string
  at: number
}

export interface RoomTables {
  rooms: RoomTable
  members: MemberTable
  parties: PartyTable
  messages: MessageTable
  outgoing: OutgoingTable
  asks: AskTable
}

export type RoomDatabase = Kysely<RoomTables>
export type RoomRow = Selectable<RoomTable>
export type MessageRow = Selectable<MessageTable>
export type PartyRow = Selectable<PartyTable>

export const migrations: Record<string, Migration> = { '0001-rooms': { up: createRooms } }

export function openRoomDatabase(file: string): Promise<RoomDatabase> {
  return openStore<RoomTables>(file, migrations)
}

async function createRooms(database: Kysely<unknown>): Promise<void> {
  const { schema } = database
  await schema
    .createTable('rooms')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('home', 'text', (column) => column.notNull())
    .addColumn('remote', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('public', 'integer', (column) => column.notNull())
    .addColumn('instructions', 'text', (column) => column.notNull())
    .addColumn('model', 'text')
    .addColumn('sequence', 'integer', (column) => column.notNull())
    .addColumn('changed', 'integer', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('inviter', 'text', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('updated_at', 'integer', (column) => column.notNull())
    .addUniqueConstraint('rooms_at_home', ['home', 'remote'])
    .execute()
  const ofRoom = (table: string) =>
    schema
      .createTable(table)
      .addColumn('room_id', 'text', (column) => column.notNull().references('rooms.id').onDelete('cascade'))
  await ofRoom('members')
    .addColumn('person_id', 'text', (column) => column.notNull())
    .addColumn('role', 'text', (column) => column.notNull())
    .addColumn('muted', 'integer', (column) => column.notNull())
    .addColumn('read_sequence', 'integer', (column) => column.notNull())
    .addColumn('joined_at', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('members_key', ['room_id', 'person_id'])
    .execute()
  await schema.createIndex('members_person').on('members').column('person_id').execute()
  await ofRoom('parties')
    .addColumn('mesh', 'text', (column) => column.notNull())
    .addColumn('label', 'text', (column) => column.notNull())
    .addColumn('names', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('changed', 'integer', (column) => column.notNull())
    .addColumn('sent', 'integer', (column) => column.notNull())
    .addColumn('told', 'integer', (column) => column.notNull())
    .addColumn('since', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('parties_key', ['room_id', 'mesh'])
    .execute()
  await ofRoom('messages')
    .addColumn('number', 'integer', (column) => column.primaryKey())
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('sequence', 'integer')
    .addColumn('changed', 'integer', (column) => column.notNull())
    .addColumn('version', 'integer', (column) => column.notNull())
    .addColumn('sent_version', 'integer', (column) => column.notNull())
    .addColumn('known_version', 'integer', (column) => column.notNull())
    .addColumn('mesh', 'text', (column) => column.notNull())
    .addColumn('author', 'text', (column) => column.notNull())
    .addColumn('person_id', 'text')
    .addColumn('model', 'text')
    .addColumn('reply', 'text')
    .addColumn('text', 'text', (column) => column.notNull())
    .addColumn('at', 'integer', (column) => column.notNull())
    .addColumn('edited_at', 'integer')
    .addColumn('deleted', 'integer', (column) => column.notNull())
    .addColumn('refused', 'integer', (column) => column.notNull())
    .addColumn('revision', 'integer', (column) => column.notNull())
    .addUniqueConstraint('messages_id', ['room_id', 'id'])
    .execute()
  await schema.createIndex('messages_order').on('messages').columns(['room_id', 'sequence']).execute()
  await schema.createIndex('messages_changed').on('messages').columns(['room_id', 'changed']).execute()
  await schema.createIndex('messages_revision').on('messages').column('revision').execute()
  await sql`CREATE INDEX messages_unsent ON messages (room_id, number) WHERE mesh = '' AND version > sent_version`.execute(
    database,
  )
  await schema
    .createTable('outgoing')
    .addColumn('number', 'integer', (column) => column.primaryKey())
    .addColumn('mesh', 'text', (column) => column.notNull())
    .addColumn('json', 'text', (column) => column.notNull())
    .execute()
  await schema
    .createTable('asks')
    .addColumn('mesh', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('person_id', 'text', (column) => column.notNull())
    .addColumn('at', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('asks_key', ['mesh', 'name', 'person_id'])
    .execute()
  await createMessageSearch(database)
}
