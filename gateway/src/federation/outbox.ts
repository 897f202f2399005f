/**
 * What is on its way to others, and how far theirs was taken: one SQLite file. Each message to a peer has a number,
 * and each row of numbers an epoch, so that a state that was restored from a backup begins a new row rather than
 * giving old numbers to new messages.
 */
import { DatabaseSync } from 'node:sqlite'
import { connect, makePrivate, migrate } from '@sotto/provisioning/database.ts'
import { Kysely, SqliteDialect, type Kysely as Database } from 'kysely'
import type { Migration } from 'kysely/migration'
import { z } from 'zod'

export interface Wanted {
  readonly meshId: string
  readonly kind: string
  /** JSON. */
  readonly body: string
}

export interface Numbered {
  readonly number: number
  readonly kind: string
  readonly body: string
}

/** How far a peer's messages were taken. */
export interface Taken {
  readonly epoch: number
  readonly number: number
}

export interface Waiting {
  readonly messages: number
  readonly bytes: number
}

export interface Outbox {
  /** On disk when it returns, all or none. */
  add(messages: readonly Wanted[]): void
  /** Of one peer, from a number on. */
  from(meshId: string, number: number, most: number): Numbered[]
  /** Those up to a number arrived. */
  forget(meshId: string, number: number): void
  /** The row that a peer's numbers stand in, the first that has not arrived and the next to be given. */
  row(meshId: string): { readonly epoch: number; readonly first: number; readonly next: number }
  /** Begins a new row of numbers, above what the peer has seen of the old one. */
  renumber(meshId: string, now: number): void
  taken(meshId: string): Taken
  take(meshId: string, taken: Taken): void
  waiting(meshId: string): Waiting
  /** The relay by which a peer is reached; undefined for one that was never bound. */
  via(meshId: string): string | undefined
  bind(meshId: string, via: string, name: string, now: number): void
  /** Forgets peers, and what waits for them; gives which they were. */
  forgetWhere(isGone: (meshId: string, via: string) => boolean): readonly string[]
  /** Those that are bound to a relay, with the name each had when it was last. */
  readonly peers: readonly { readonly meshId: string; readonly name: string; readonly via: string }[]
  close(): void
}

const peerRow = z.object({
  mesh_id: z.string(),
  via: z.string().nullable(),
  name: z.string(),
  epoch: z.number(),
  next: z.number(),
  taken_epoch: z.number(),
  taken: z.number(),
})
const sizeRow = z.object({ messages: z.number(), bytes: z.number() })
const waitingRow = sizeRow.extend({ mesh_id: z.string(), first: z.number() })
const numbered = z.object({ number: z.number(), kind: z.string(), body: z.string() })

interface Held {
  via: string | null
  name: string
  epoch: number
  next: number
  first: number
  messages: number
  bytes: number
  taken: Taken
}

/** @internal */
export const migrations: Record<string, Migration> = { '0001-outbox': { up: createTables } }

export async function openOutbox(file: string): Promise<Outbox> {
  const made = new Kysely({ dialect: new SqliteDialect({ database: () => connect(file) }) })
  await migrate(made, file, migrations)
  await made.destroy()
  await makePrivate(file)
  const database = new DatabaseSync(file, { timeout: 5_000 })
  // FULL: what was acknowledged outlives a power cut.
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  return createOutbox(database)
}

function createOutbox(database: DatabaseSync): Outbox {
  const insert = database.prepare(
    'INSERT INTO outbox (mesh_id, number, kind, body, bytes) VALUES (?, ?, ?, ?, ?)',
  )
  const keep = database.prepare(
    `INSERT INTO peers (mesh_id, via, name, epoch, next, taken_epoch, taken) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (mesh_id) DO UPDATE SET via = excluded.via, name = excluded.name, epoch = excluded.epoch, next = excluded.next,
       taken_epoch = excluded.taken_epoch, taken = excluded.taken`,
  )
  const read = database.prepare(
    'SELECT number, kind, body FROM outbox WHERE mesh_id = ? AND number >= ? ORDER BY number LIMIT ?',
  )
  const drop = database.prepare('DELETE FROM outbox WHERE mesh_id = ? AND number <= ?')
  const shift = database.prepare('UPDATE outbox SET number = number + ? WHERE mesh_id = ?')
  const size = database.prepare(
    `SELECT count(*) AS messages, coalesce(sum(bytes), 0) AS bytes FROM outbox
     WHERE mesh_id = ? AND number <= ?`,
  )
  const remove = database.prepare('DELETE FROM peers WHERE mesh_id = ?')
  const removeAll = database.prepare('DELETE FROM outbox WHERE mesh_id = ?')
  const peers = load(database)

  const held = (meshId: string): Held => {
    const found = peers.get(meshId)
    if (found) return found
    const taken = { epoch: 0, number: 0 }
    const made = { via: null, name: meshId, epoch: 0, next: 1, first: 1, messages: 0, bytes: 0, taken }
    peers.set(meshId, made)
    return made
  }
  const write = (meshId: string, { via, name, epoch, next, taken }: Held): void => {
    keep.run(meshId, via, name, epoch, next, taken.epoch, taken.number)
  }
  /** Memory follows the disk: where that fails, nothing of it has happened. */
  const together = (task: () => void): void => {
    database.exec('BEGIN IMMEDIATE')
    try {
      task()
      database.exec('COMMIT')
    } catch (error) {
      // Where the disk had no room for it SQLite has undone it itself.
      if (database.isTransaction) database.exec('ROLLBACK')
      peers.clear()
      for (const [meshId, one] of load(database)) peers.set(meshId, one)
      throw error
    }
  }
  return {
    add(messages) {
      together(() => {
        for (const { meshId, kind, body } of messages) {
          const peer = held(meshId)
          const bytes = Buffer.byteLength(body)
          insert.run(meshId, peer.next, kind, body, bytes)
          peer.next += 1
          peer.messages += 1
          peer.bytes += bytes
        }
        for (const meshId of new Set(messages.map((one) => one.meshId))) write(meshId, held(meshId))
      })
    },
    from: (meshId, number, most) => numbered.array().parse(read.all(meshId, number, most)),
    forget(meshId, number) {
      const peer = held(meshId)
      if (number < peer.first) return
      together(() => {
        const { messages, bytes } = sizeRow.parse(size.get(meshId, number))
        drop.run(meshId, number)
        peer.first = number + 1
        peer.messages -= messages
        peer.bytes -= bytes
      })
    },
    row(meshId) {
      const { epoch, first, next } = held(meshId)
      return { epoch, first, next }
    },
    renumber(meshId, now) {
      const peer = held(meshId)
      together(() => {
        // Downwards, and the table has no place for two of one number on the way: first out of reach.
        shift.run(peer.next, meshId)
        shift.run(1 - peer.first - peer.next, meshId)
        peer.next -= peer.first - 1
        peer.first = 1
        peer.epoch = Math.max(peer.epoch + 1, now)
        write(meshId, peer)
      })
    },
    taken: (meshId) => held(meshId).taken,
    take(meshId, taken) {
      const peer = held(meshId)
      together(() => {
        peer.taken = taken
        write(meshId, peer)
      })
    },
    waiting(meshId) {
      const peer = peers.get(meshId)
      return { messages: peer?.messages ?? 0, bytes: peer?.bytes ?? 0 }
    },
    via: (meshId) => peers.get(meshId)?.via ?? undefined,
    bind(meshId, via, name, now) {
      const peer = held(meshId)
      if (peer.via === via && peer.name === name) return
      together(() => {
        peer.via = via
        peer.name = name
        // Numbers that an earlier life of this state gave are below.
        if (peer.epoch === 0) peer.epoch = now
        write(meshId, peer)
      })
    },
    forgetWhere(isGone) {
      const gone = [...peers].flatMap(([meshId, { via }]) =>
        via !== null && isGone(meshId, via) ? meshId : [],
      )
      if (gone.length === 0) return gone
      together(() => {
        for (const meshId of gone) {
          remove.run(meshId)
          removeAll.run(meshId)
        }
      })
      for (const meshId of gone) peers.delete(meshId)
      return gone
    },
    get peers() {
      return [...peers].flatMap(([meshId, { name, via }]) => (via === null ? [] : { meshId, name, via }))
    },
    close: () => database.close(),
  }
}

function load(database: DatabaseSync): Map<string, Held> {
  const rows = peerRow.array().parse(database.prepare('SELECT * FROM peers').all())
  const sizes = waitingRow.array().parse(
    database
      .prepare(
        `SELECT mesh_id, count(*) AS messages, sum(bytes) AS bytes, min(number) AS first
           FROM outbox GROUP BY mesh_id`,
      )
      .all(),
  )
  const sizeOf = new Map(sizes.map((one) => [one.mesh_id, one]))
  return new Map(
    rows.map(({ mesh_id: meshId, via, name, epoch, next, taken_epoch, taken }) => {
      const { messages = 0, bytes = 0, first = next } = sizeOf.get(meshId) ?? {}
      return [
        meshId,
        { via, name, epoch, next, first, messages, bytes, taken: { epoch: taken_epoch, number: taken } },
      ]
    }),
  )
}

async function createTables(database: Database<unknown>): Promise<void> {
  await database.schema
    .createTable('peers')
    .addColumn('mesh_id', 'text', (column) => column.primaryKey())
    .addColumn('via', 'text')
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('epoch', 'integer', (column) => column.notNull())
    .addColumn('next', 'integer', (column) => column.notNull())
    .addColumn('taken_epoch', 'integer', (column) => column.notNull())
    .addColumn('taken', 'integer', (column) => column.notNull())
    .execute()
  await database.schema
    .createTable('outbox')
    .addColumn('mesh_id', 'text', (column) => column.notNull())
    .addColumn('number', 'integer', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('body', 'text', (column) => column.notNull())
    .addColumn('bytes', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('outbox_order', ['mesh_id', 'number'])
    .execute()
}
