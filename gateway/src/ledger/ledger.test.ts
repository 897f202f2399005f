import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { serveApi } from '#api/serve.fixture.ts'
import { json, serveOllama } from '#engines/upstream.fixture.ts'
import { openLedgerDatabase } from './database.ts'
import { createLedger, type AuditRow } from './ledger.ts'
import { readAudit, readPeople, readPrompts, readUsage } from './report.ts'

let folder: string
const closers: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sotto-ledger-'))
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await rm(folder, { recursive: true })
})

const file = () => join(folder, 'ledger.db')
const row = (rest: Partial<AuditRow> = {}): AuditRow => ({
  at: Date.now(),
  request_id: 'req_1',
  tenant: 'home',
  person: 'ada',
  device_id: 'd',
  device: 'phone',
  key_id: null,
  key: null,
  address: '10.77.0.2',
  method: 'POST',
  path: '/api/chat',
  service: 'chat',
  model: 'tiny',
  backend: 'desk',
  status: 200,
  refusal: null,
  input_tokens: 5,
  output_tokens: 3,
  counted: 'upstream',
  queued_ms: 0,
  first_byte_ms: 20,
  duration_ms: 90,
  ended: 'whole',
  ...rest,
})

async function open(keepMs = 86_400_000) {
  await (await openLedgerDatabase(file())).destroy()
  return createLedger({ file: file(), gateway: 'test', keepMs, log: { error() {} } })
}

async function read<T>(
  task: (database: Awaited<ReturnType<typeof openLedgerDatabase>>) => Promise<T>,
): Promise<T> {
  const database = await openLedgerDatabase(file())
  try {
    return await task(database)
  } finally {
    await database.destroy()
  }
}

describe('the ledger', () => {
  // A full machine may be late once; a writer that waits too long is so each time.
  it('has a row on disk within 100 ms, in a file of its owner alone', { retry: 2 }, async () => {
    const ledger = await open()
    // The writer's own start is not what is measured.
    await ledger.flush()
    ledger.record(row())
    await new Promise((settle) => setTimeout(settle, 100))
    expect(await read((database) => readAudit(database, { since: 0, limit: 10 }))).toHaveLength(1)
    for (const name of await readdir(folder))
      expect((await stat(join(folder, name))).mode & 0o777, name).toBe(0o600)
    await ledger.close()
  })

  it('is drained when it is closed', async () => {
    const ledger = await open()
    for (let count = 0; count < 2_000; count += 1) ledger.record(row())
    await ledger.close()
    expect(await read((database) => readUsage(database, 'model', '2000-01-01'))).toEqual([
      { name: 'tiny', requests: 2_000, inputTokens: 10_000, outputTokens: 6_000 },
    ])
  })

  it('forgets audit rows after their time, and prompts after theirs', async () => {
    const ledger = await open(60_000)
    ledger.record(row({ at: Date.now() - 120_000 }))
    ledger.record(row())
    const prompt = {
      at: Date.now(),
      request_id: 'r',
      key_id: 'k',
      key: 'script',
      model: 'tiny',
      request: 'q',
      response: 'a',
    }
    ledger.keepPrompt({ ...prompt, expires_at: Date.now() + 100 })
    ledger.keepPrompt({ ...prompt, expires_at: Date.now() + 60_000 })
    await ledger.flush()
    expect(await read((database) => readAudit(database, { since: 0, limit: 10 }))).toHaveLength(1)
    await new Promise((settle) => setTimeout(settle, 120))
    expect(await read((database) => readPrompts(database, 'script', 10))).toHaveLength(1)
    ledger.record(row())
    await ledger.close()
    expect(await read((database) => database.selectFrom('prompts').selectAll().execute())).toHaveLength(1)
  })

  it('answers what people ask: who, what was denied, by what', async () => {
    const ledger = await open(7 * 86_400_000)
    ledger.record(row({ at: Date.now() - 2 * 86_400_000, key: 'script', key_id: 'k' }))
    ledger.record(
      row({
        status: 403,
        refusal: 'forbidden',
        service: 'images',
        person: 'bob',
        device: 'laptop',
        input_tokens: 0,
        output_tokens: 0,
      }),
    )
    ledger.record(row({ service: 'embeddings', model: 'embed', output_tokens: 0 }))
    await ledger.close()
    await read(async (database) => {
      const audit = (filter: object) => readAudit(database, { since: 0, limit: 10, ...filter })
      expect(await audit({ denied: true })).toMatchObject([{ person: 'bob' }])
      expect(await audit({ key: 'script' })).toHaveLength(1)
      expect(await audit({ device: 'laptop' })).toHaveLength(1)
      expect(await audit({ since: Date.now() - 60_000 })).toHaveLength(2)
      expect(await readPeople(database, 0)).toMatchObject([
        { person: 'ada', requests: 2, refused: 0 },
        { person: 'bob', requests: 1, refused: 1 },
      ])
      const by = async (what: Parameters<typeof readUsage>[1]) =>
        (await readUsage(database, what, '1970-01-01')).map(({ name, requests }) => [name, requests])
      expect(await by('service')).toEqual([
        ['chat', 1],
        ['embeddings', 1],
      ])
      expect(await by('day')).toHaveLength(2)
    })
  })

  it('goes on where a batch can’t be written, and writes it when it can', async () => {
    const ledger = await open()
    await ledger.flush()
    await read((other) => other.schema.alterTable('audit').renameTo('hidden').execute())
    ledger.record(row())
    await expect(ledger.flush()).rejects.toThrow()
    expect(ledger.healthy()).toBe(false)
    await read((other) => other.schema.alterTable('hidden').renameTo('audit').execute())
    await ledger.flush()
    expect(ledger.healthy()).toBe(true)
    await ledger.close()
    expect(await read((database) => readAudit(database, { since: 0, limit: 10 }))).toHaveLength(1)
  })

  it('says when as many rows wait as may, so that nothing is begun that would be lost; and loses none of them', async () => {
    const ledger = await open()
    await ledger.flush()
    const other = await openLedgerDatabase(file())
    await other.schema.alterTable('audit').renameTo('hidden').execute()
    for (let count = 0; count < 49_999; count += 1) ledger.record(row())
    await expect(ledger.flush()).rejects.toThrow()
    expect(ledger.crowded()).toBe(false)
    ledger.record(row())
    await expect(ledger.flush()).rejects.toThrow()
    expect(ledger.crowded()).toBe(true)
    await other.schema.alterTable('hidden').renameTo('audit').execute()
    await ledger.flush()
    expect(ledger.crowded()).toBe(false)
    const { rows } = await other
      .selectFrom('audit')
      .select(({ fn }) => fn.countAll().as('rows'))
      .executeTakeFirstOrThrow()
    expect(Number(rows)).toBe(50_000)
    await other.destroy()
    await ledger.close()
  })
})

describe('prompts', () => {
  it('are written down for the keys that have it so, for their time, and never in the audit', async () => {
    const ollama = await serveOllama(({ response }) =>
      json(response, 200, { message: { content: 'the answer' }, done: true }),
    )
    const api = await serveApi({ ollama: ollama.url, keys: { logged: { promptLogMs: 60_000 }, plain: {} } })
    closers.push(ollama.close, api.close)
    for (const name of ['logged', 'plain'])
      await fetch(`${api.url}/api/chat`, {
        method: 'POST',
        headers: { 'x-api-key': api.secrets[name] ?? '' },
        body: JSON.stringify({
          model: 'tiny',
          stream: false,
          messages: [{ role: 'user', content: 'the question' }],
        }),
      }).then((answer) => answer.text())
    expect(await api.rows('prompts')).toMatchObject([
      {
        key: 'logged',
        request: expect.stringContaining('the question'),
        response: expect.stringContaining('the answer'),
      },
    ])
    expect(JSON.stringify(await api.rows('audit'))).not.toMatch(/question|answer/)
  })
})
