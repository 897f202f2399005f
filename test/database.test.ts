/** A gateway whose state is in a real PostgreSQL: carried over, shared by two, and away for a while under requests. */
import { chmod, cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import {
  sotto,
  startGateway,
  startStandIn,
  temporaryDirectory,
  trust,
  type RunningGateway,
} from './lab/gateway.ts'
import { startPostgres, type Postgres } from './lab/postgres.ts'

const closers: (() => Promise<unknown>)[] = []
let server: Postgres
let folder: string
let state: string
let ollama: string
let gateway: RunningGateway
let secret: string

beforeAll(async () => {
  const made = await temporaryDirectory()
  closers.push(made.remove)
  folder = made.path
  state = join(folder, 'state')
  const standIn = await startStandIn(undefined, 'ollama')
  closers.push(standIn.stop)
  ollama = standIn.url
  server = await startPostgres()
  closers.push(server.close)
  gateway = await start()
  await trust(state)
  ;({ secret } = z.object({ secret: z.string() }).parse(await run('key', 'add', 'script')))
  await run('device', 'add', 'laptop')
})
afterAll(async () => {
  for (const close of closers.toReversed()) await close()
})

/** What ends when all is over, whoever stopped it before. */
async function start(at = state): Promise<RunningGateway> {
  const started = await startGateway(
    undefined,
    at,
    '--loopback',
    '--port',
    '0',
    '--endpoint',
    '192.0.2.1',
    '--ollama',
    ollama,
  )
  closers.push(started.stop)
  return started
}

/** A command beside the gateway; fails where it fails. */
async function run(...args: string[]) {
  const { stdout, stderr, exitCode } = await sotto(...args, '--state', state, '--json')
  if (exitCode !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

function ask(path: string, body?: object, key = secret): Promise<Response> {
  return fetch(`${gateway.origins[0]}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
}

const chat = (key?: string) =>
  ask(
    '/api/chat',
    { model: 'stand-in', stream: false, messages: [{ role: 'user', content: 'one two three' }] },
    key,
  )

/** Says something in a new conversation; resolves to the socket, with the conversation on disk. */
async function talk(to: RunningGateway, key: string, text: string): Promise<WebSocket> {
  const socket = new WebSocket(`${to.origins[0]?.replace('https', 'wss')}/v1/realtime`, 'realtime.sotto.v1', {
    headers: { 'x-api-key': key },
  })
  await new Promise((settle, fail) => {
    socket.once('error', fail)
    socket.on('message', (data: Buffer) => {
      const { type } = z.looseObject({ type: z.string() }).parse(JSON.parse(data.toString()))
      if (type === 'session.created')
        socket.send(
          JSON.stringify({
            type: 'conversation.item.create',
            item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
          }),
        )
      if (type === 'conversation.item.done') settle(undefined)
    })
  })
  return socket
}

const found = async (words: string): Promise<number> =>
  z
    .object({ conversations: z.array(z.unknown()) })
    .parse(await (await ask(`/sotto/conversations?search=${words}`)).json()).conversations.length

/** Asks PostgreSQL itself, for a number. */
async function count(query: string): Promise<number> {
  const client = new Client({ connectionString: server.url('home') })
  await client.connect()
  try {
    const { rows } = await client.query<{ count: string }>(query)
    return Number(rows[0]?.count)
  } finally {
    await client.end()
  }
}

describe('an embedded database', () => {
  // A dozen commands, each a process of its own.
  it('is carried over to PostgreSQL, and everything is there', { timeout: 300_000 }, async () => {
    expect((await chat()).status).toBe(200)
    ;(await talk(gateway, secret, 'Où est le café ?')).close()
    await expect.poll(() => found('cafe'), { timeout: 15_000 }).toBe(1)
    const room = z
      .object({ id: z.string() })
      .parse(await (await ask('/sotto/rooms', { name: 'kitchen' })).json())
    const message = { id: crypto.randomUUID(), text: 'Soup at seven' }
    expect((await ask(`/sotto/rooms/${room.id}/messages`, message)).status).toBe(201)
    const url = await server.create('home')
    const running = await sotto('database', 'move', '--to', url, '--state', state)
    expect(running.stderr).toMatch(/already serves[\s\S]*Stop it/)
    await gateway.stop()
    const before = await run('device', 'list')

    const { stdout, stderr, exitCode } = await sotto('database', 'move', '--to', url, '--state', state)
    expect([exitCode, stdout], stderr).toEqual([0, expect.stringContaining(`database: ${url}`)])
    expect(stderr).toContain('audit: ')
    const again = await sotto('database', 'move', '--to', url, '--state', state)
    expect(again.stderr).toMatch(/holds something already[\s\S]*createdb/)
    // What it came from is as it was.
    expect(await run('device', 'list')).toEqual(before)

    await writeFile(join(state, 'config.yaml'), `database: ${url}\n`, { mode: 0o600 })
    await cp(state, join(folder, 'aside'), { recursive: true })
    for (const name of ['sotto', 'ledger', 'conversations', 'rooms'])
      for (const rest of ['', '-wal', '-shm']) await rm(join(state, `${name}.db${rest}`), { force: true })
    gateway = await start()
    expect(await run('device', 'list')).toEqual(before)
    expect((await chat()).status).toBe(200)
    await expect.poll(() => found('cafe'), { timeout: 15_000 }).toBe(1)
    const words = await (await ask('/sotto/rooms/search?words=soup')).text()
    expect(words).toContain('Soup')
    const counted = `SELECT sum(requests) AS count FROM sotto_ledger.usage WHERE key = 'script' AND service = 'chat'`
    await expect.poll(() => count(counted), { timeout: 15_000 }).toBe(2)
    expect(
      (await ask(`/sotto/rooms/${room.id}/messages`, { ...message, id: crypto.randomUUID() })).status,
    ).toBe(201)
    await run('device', 'add', 'tablet')
    expect(await count('SELECT count(*) FROM sotto.devices')).toBe(2)
  })
})

describe('PostgreSQL', () => {
  it('is begun on by a new gateway whose config.yaml says so beforehand', async () => {
    const fresh = join(folder, 'fresh')
    await mkdir(fresh)
    await writeFile(join(fresh, 'config.yaml'), `database: ${await server.create('fresh')}\n`)
    const begun = await start(fresh)
    const { stdout } = await sotto('status', '--json', '--state', fresh)
    expect(JSON.parse(stdout)).toMatchObject({
      running: true,
      database: expect.stringMatching(/\/fresh$/),
      origins: begun.origins,
    })
    await begun.stop()
    expect(await readdir(fresh)).not.toContain('sotto.db')
  })

  it('is shared by two gateways: a key that is removed at one loses its sockets at the other', async () => {
    const other = join(folder, 'other')
    await mkdir(other)
    for (const name of ['sotto.json', 'hub.key', 'config.yaml', 'certs'])
      await cp(join(state, name), join(other, name), { recursive: true })
    const second = await start(other)
    const lost = z.object({ secret: z.string() }).parse(await run('key', 'add', 'lost'))
    // Which the second takes up by itself.
    await expect.poll(() => chatAt(second, lost.secret), { timeout: 10_000 }).toBe(200)
    const socket = await talk(second, lost.secret, 'hello')
    const closed = new Promise((settle) => socket.once('close', settle))
    await run('key', 'remove', 'lost')
    await closed
    expect(await chatAt(second, lost.secret)).toBe(401)
    await second.stop()
  })

  it('may be away for a while: what was accepted is counted once, the rest is 503 with Retry-After', async () => {
    const { secret: held } = z.object({ secret: z.string() }).parse(await run('key', 'add', 'held'))
    await run('limit', 'key:held', '--tokens-per-day', '1000000')
    await expect.poll(async () => (await chat(held)).status, { timeout: 15_000 }).toBe(200)
    const seen = { 200: 1, 503: 0 }
    const over = new AbortController()
    const askOn = async (key: string): Promise<void> => {
      while (!over.signal.aborted) {
        const answer = await chat(key)
        const body: unknown = await answer.json()
        if (answer.status === 200) seen[200] += 1
        else {
          expect([answer.status, answer.headers.get('retry-after')]).toEqual([
            503,
            expect.stringMatching(/^\d+$/),
          ])
          expect(body).toEqual({ error: expect.any(String) })
          seen[503] += 1
        }
        await pause(answer.status === 200 ? 5 : 50)
      }
    }
    const asking = Promise.all(Array.from({ length: 4 }, () => askOn(held)))
    try {
      await pause(1_000)
      await server.stop()
      await expect.poll(() => seen[503], { timeout: 20_000 }).toBeGreaterThan(10)
      await away()
      await server.start()
      const before = seen[200]
      await expect.poll(() => seen[200], { timeout: 60_000 }).toBeGreaterThan(before + 20)
    } finally {
      over.abort()
    }
    await asking
    process.stderr.write(`· PostgreSQL away: ${seen[200]} requests answered, ${seen[503]} refused\n`)
    await expect
      .poll(() => count(`SELECT count(*) FROM sotto_ledger.audit WHERE key = 'held' AND status = 200`), {
        timeout: 15_000,
      })
      .toBe(seen[200])
    expect(await count(`SELECT sum(requests) AS count FROM sotto_ledger.usage WHERE key = 'held'`)).toBe(
      seen[200],
    )
  })

  /** What is said meanwhile. */
  async function away(): Promise<void> {
    const refused = await ask('/sotto/conversations')
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '2'])
    expect(await refused.json()).toMatchObject({ error: { code: 'database_away' } })
    expect((await ask('/readyz')).status).toBe(503)
    const status = await sotto('status', '--state', state)
    expect([status.exitCode, status.stderr]).toEqual([
      1,
      expect.stringMatching(/can’t be used[\s\S]*→ Start PostgreSQL/),
    ])
    const doctor = await sotto('doctor', '--json', '--state', state)
    expect(JSON.parse(doctor.stdout).findings).toMatchObject([
      { code: 'database', status: 'failed', remedy: expect.stringContaining('Start PostgreSQL') },
    ])
    const second = await startGateway(undefined, join(folder, 'aside'), '--loopback', '--port', '0').catch(
      String,
    )
    expect(second).toMatch(/can’t be used[\s\S]*→ Start PostgreSQL/)
  }

  it('stays shut where a later version brought it up to date', async () => {
    const later = `'9999-later', 'never'`
    await count(`INSERT INTO sotto.kysely_migration VALUES (${later}) RETURNING 1 AS count`)
    const { stderr } = await sotto('device', 'list', '--state', state)
    expect(stderr).toMatch(/brought up to date by Sotto [\d.]+, and this is [\s\S]*9999-later/)
    await count(`DELETE FROM sotto.kysely_migration WHERE name = '9999-later' RETURNING 1 AS count`)
    await run('device', 'list')
  })

  it('has its password in a file of its owner alone, and nowhere else', async () => {
    const at = join(folder, 'aside', 'config.yaml')
    const url = new URL(server.url('home'))
    url.searchParams.set('password', 'open sesame')
    const tried = async (...args: string[]) => {
      const { stderr } = await sotto(...args, '--state', join(folder, 'aside'))
      expect(stderr).not.toContain('sesame')
      return stderr
    }
    await writeFile(at, `database: ${url.href}\n`)
    await chmod(at, 0o644)
    expect(await tried('device', 'list')).toMatch(/holds a password, and others may read it[\s\S]*chmod 600/)
    await chmod(at, 0o600)
    expect(await tried('device', 'list')).toBe('')
    await writeFile(at, `database: { url: "${server.url('home')}", passwordFile: word }\n`)
    await writeFile(join(folder, 'aside', 'word'), 'open sesame\n', { mode: 0o644 })
    expect(await tried('device', 'list')).toMatch(/passwordFile: others may read[\s\S]*chmod 600/)
    await chmod(join(folder, 'aside', 'word'), 0o600)
    expect(await tried('device', 'list')).toBe('')
    expect(await tried('database', 'move', '--to', server.url('home'))).toMatch(/holds something already/)
    expect(await tried('database', 'move', '--to', url.href)).toMatch(
      /--to holds a password[\s\S]*SOTTO_DATABASE_PASSWORD/,
    )
    expect(await tried('backup', join(folder, 'backup.age'))).toMatch(/pg_dump/)
  })
})

const chatAt = async (at: RunningGateway, key: string): Promise<number> => {
  const { status } = await fetch(`${at.origins[0]}/api/tags`, { headers: { 'x-api-key': key } })
  return status
}
