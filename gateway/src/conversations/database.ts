/** The conversations' own file, beside the ledger's: its writer waits for nobody else's. */
import { openStore } from '@sotto/provisioning/database.ts'
import type { Generated, Kysely } from 'kysely'
import type { Migration } from 'kysely/migration'
import { createSearch } from './search.ts'

export interface ConversationTable {
  /** What the index of words refers to; it stays through a `VACUUM`, as an implicit row id would not. */
  number: Generated<number>
  id: string
  /** The first of those that branched off each other: its id. Their owner, title and pin are the same. */
  family: string
  /** Id of the person, or `host`. */
  owner: string
  title: string
  /** 1 where its title stays: a person named it, or branches share it. Else it is made of the first words. */
  titled: number
  /** 1 where it stands before the others. */
  pinned: number
  /** Milliseconds since the epoch, as all times here. */
  created_at: number
  /** When something was said last; a new name or model is no news. */
  updated_at: number
  /** The model that was chosen; null for the first there is. */
  model: string | null
  instructions: string
  deleted_at: Generated<number | null>
}

export interface ItemTable {
  number: Generated<number>
  conversation_id: string
  id: string
  /** Its order in the conversation; between two there is room for others. */
  position: number
  /** The item as the protocol has it. */
  json: string
  /** Its words, for the search. */
  text: string
}

export interface ConversationTables {
  conversations: ConversationTable
  items: ItemTable
}

export type ConversationDatabase = Kysely<ConversationTables>

export const migrations: Record<string, Migration> = {
  '0001-conversations': { up: createConversations },
  '0002-families': { up: createFamilies },
}

export function openConversationDatabase(file: string): Promise<ConversationDatabase> {
  return openStore<ConversationTables>(file, migrations)
}

async function createConversations(database: Kysely<unknown>): Promise<void> {
  const { schema } = database
  await schema
    .createTable('conversations')
    .addColumn('number', 'integer', (column) => column.primaryKey())
    .addColumn('id', 'text', (column) => column.notNull().unique())
    .addColumn('owner', 'text', (column) => column.notNull())
    .addColumn('title', 'text', (column) => column.notNull())
    .addColumn('titled', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'integer', (column) => column.notNull())
    .addColumn('updated_at', 'integer', (column) => column.notNull())
    .addColumn('model', 'text')
    .addColumn('instructions', 'text', (column) => column.notNull())
    .addColumn('deleted_at', 'integer')
    .execute()
  await schema
    .createIndex('conversations_newest')
    .on('conversations')
    .columns(['owner', 'updated_at', 'id'])
    .execute()
  await schema
    .createIndex('conversations_deleted_at')
    .on('conversations')
    .column('deleted_at')
    .where('deleted_at', 'is not', null)
    .execute()
  await schema
    .createTable('items')
    .addColumn('number', 'integer', (column) => column.primaryKey())
    .addColumn('conversation_id', 'text', (column) =>
      column.notNull().references('conversations.id').onDelete('cascade'),
    )
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('position', 'real', (column) => column.notNull())
    .addColumn('json', 'text', (column) => column.notNull())
    .addColumn('text', 'text', (column) => column.notNull())
    .addUniqueConstraint('items_id', ['conversation_id', 'id'])
    .execute()
  await schema.createIndex('items_order').on('items').columns(['conversation_id', 'position']).execute()
  await createSearch(database)
}

async function createFamilies(database: Kysely<Pick<ConversationTables, 'conversations'>>): Promise<void> {
  const { schema } = database
  const table = schema.alterTable('conversations')
  await table.addColumn('pinned', 'integer', (column) => column.notNull().defaultTo(0)).execute()
  await table.addColumn('family', 'text', (column) => column.notNull().defaultTo('')).execute()
  await database
    .updateTable('conversations')
    .set(({ ref }) => ({ family: ref('id') }))
    .execute()
  await schema.dropIndex('conversations_newest').execute()
  await schema
    .createIndex('conversations_listed')
    .on('conversations')
    .columns(['owner', 'pinned', 'updated_at', 'id'])
    .execute()
  await schema
    .createIndex('conversations_family')
    .on('conversations')
    .columns(['family', 'updated_at', 'id'])
    .execute()
}
