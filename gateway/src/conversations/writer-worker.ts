/** A worker that writes conversations, each batch as one transaction that is on disk before it is acknowledged. */
import { parentPort, workerData } from 'node:worker_threads'
import { Problem } from '@sotto/provisioning/problem.ts'
import type { Transaction } from 'kysely'
import { z } from 'zod'
import { openConversationDatabase, type ConversationTables } from './database.ts'
import type { Batch, Branching, Written } from './writer.ts'

const { file } = z.object({ file: z.string() }).parse(workerData)
const database = await openConversationDatabase(file)

async function write({ changes, branching, purgeBefore }: Batch): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    for (const { conversation, removed, items } of changes) {
      const { title, titled, pinned, updated_at, model, instructions } = conversation
      await transaction
        .insertInto('conversations')
        .values(conversation)
        .onConflict((conflict) =>
          conflict.column('id').doUpdateSet({ title, titled, pinned, updated_at, model, instructions }),
        )
        .execute()
      for (const id of removed)
        await transaction
          .deleteFrom('items')
          .where('conversation_id', '=', conversation.id)
          .where('id', '=', id)
          .execute()
      for (const item of items) {
        const { position, json, text } = item
        await transaction
          .insertInto('items')
          .values(item)
          .onConflict((conflict) =>
            conflict.columns(['conversation_id', 'id']).doUpdateSet({ position, json, text }),
          )
          .execute()
      }
    }
    if (branching) await branch(transaction, branching)
    if (purgeBefore !== undefined)
      await transaction.deleteFrom('conversations').where('deleted_at', '<', purgeBefore).execute()
  })
}

async function branch(
  transaction: Transaction<ConversationTables>,
  { conversation, of, until }: Branching,
): Promise<void> {
  await transaction.insertInto('conversations').values(conversation).execute()
  await transaction
    .insertInto('items')
    .columns(['conversation_id', 'id', 'position', 'json', 'text'])
    .expression(
      transaction
        .selectFrom('items')
        .select(({ val }) => [val(conversation.id).as('conversation_id'), 'id', 'position', 'json', 'text'])
        .where('conversation_id', '=', of)
        .where('position', '<', until),
    )
    .execute()
}

parentPort?.on('message', async (batch: Batch | 'close') => {
  if (batch === 'close') {
    await database.destroy()
    parentPort?.close()
    return
  }
  const written: Written = await write(batch).then(
    () => ({}),
    (error: unknown) => ({
      error: {
        code: error instanceof Problem ? error.code : 'conversations_unwritten',
        message: error instanceof Error ? error.message : String(error),
      },
    }),
  )
  parentPort?.postMessage(written)
})
