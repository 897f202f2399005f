/** Somebody with an account who deletes it: what there is of them, before and after. */
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import type { Door } from './door.ts'

export interface Leaver {
  /** Resolves to whether it was acknowledged; rejects where the connection ended before. */
  leave(): Promise<boolean>
  /** Whether they can still sign in, and what of them is still written down, as the files have it. */
  left(state: string): { readonly stays: boolean; readonly traces: readonly string[] }
}

const soon = { timeout: 20_000 }

/** Makes a person who has an account and a key, asks a model by it and says something; all of it is on disk. */
export async function makeLeaver(
  door: Door,
  { cookie, state, name }: { readonly cookie: string; readonly state: string; readonly name: string },
): Promise<Leaver> {
  const asAdmin = { cookie }
  await door.ask('POST', '/sotto/admin/people', { name }, asAdmin)
  const invited = await door.ask('POST', `/sotto/admin/people/${name}/invitation`, {}, asAdmin)
  const token = new URL(invited.json().url).hash.replace('#link=', '')
  const used = await door.ask('POST', '/sotto/account/link/use', { token, password: `the words of ${name}` })
  expect(used.status).toBe(204)
  const { secret } = (
    await door.ask('POST', '/sotto/admin/keys', { name: `key of ${name}`, person: name }, asAdmin)
  ).json()
  const key = { 'x-api-key': secret }
  const socket = door.open('/v1/realtime?model=stand-in', 'realtime.sotto.v1', key)
  await once(socket, 'open')
  const content = [{ type: 'input_text', text: `the secret of ${name}` }]
  const item = { type: 'message', role: 'user', content }
  socket.send(JSON.stringify({ type: 'conversation.item.create', item }))
  const messages = [{ role: 'user', content: 'hello' }]
  await door.ask('POST', '/api/chat', { model: 'stand-in', stream: false, messages }, key)
  const id = String(rows(state, 'sotto.db', 'SELECT id FROM people WHERE name = ?', name)[0]?.id)
  const tracesNow = (): string[] => traces(state, id, name)
  await expect.poll(tracesNow, soon).toHaveLength(3)
  socket.terminate()
  return {
    async leave() {
      const { status } = await door.ask('DELETE', '/sotto/account/me', {}, { cookie: used.cookie })
      return status === 204
    },
    left: () => ({
      stays: rows(state, 'sotto.db', 'SELECT person_id FROM accounts WHERE person_id = ?', id).length > 0,
      traces: tracesNow(),
    }),
  }
}

function traces(state: string, id: string, name: string): string[] {
  return [
    ...rows(
      state,
      'conversations.db',
      'SELECT id FROM conversations WHERE owner = ? AND deleted_at IS NULL',
      id,
    ).map(() => `a conversation of ${name}`),
    ...rows(state, 'ledger.db', 'SELECT DISTINCT person FROM audit WHERE person = ?', name).map(
      () => `the name of ${name} in the audit`,
    ),
    ...rows(state, 'ledger.db', 'SELECT DISTINCT person FROM usage WHERE person = ?', name).map(
      () => `the name of ${name} in the usage`,
    ),
  ]
}

function rows(state: string, file: string, query: string, value: string): Record<string, unknown>[] {
  const database = new DatabaseSync(join(state, file), { timeout: 5_000 })
  try {
    return database.prepare(query).all(value)
  } finally {
    database.close()
  }
}
