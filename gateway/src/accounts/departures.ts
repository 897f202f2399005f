/** The end of those who deleted their account: what the registry does not have of them goes, too. */
import type { Database } from '@sotto/provisioning/database.ts'
import { endDeparture, listDepartures } from '@sotto/provisioning/registry/departure.ts'
import type { Conversations } from '#conversations/conversations.ts'
import type { Ledger } from '#ledger/ledger.ts'

export interface DepartureDeps {
  readonly database: Database
  readonly conversations: Pick<Conversations, 'list' | 'delete'>
  readonly forget: Ledger['forget']
}

const conversationsAtOnce = 50

/**
 * Resolves when nothing is left of them. What was done of it before a crash may be done again.
 *
 * @param of a person’s id; left out, all whose departure was begun
 */
export async function endDepartures(
  { database, conversations, forget }: DepartureDeps,
  of?: string,
): Promise<void> {
  for (const { id, personId, person, keys, gone } of await listDepartures(database)) {
    if (of !== undefined && personId !== of) continue
    if (gone) await deleteConversations(conversations, personId)
    await forget({ person, keys })
    await endDeparture(database, id)
  }
}

async function deleteConversations(
  conversations: DepartureDeps['conversations'],
  owner: string,
): Promise<void> {
  for (;;) {
    const { conversations: page } = await conversations.list(owner, { limit: conversationsAtOnce })
    for (const { id } of page) await conversations.delete(owner, id)
    if (page.length < conversationsAtOnce) return
  }
}
