/** `/register` and the relay's sockets on loopback, as one that is no device of ours meets them. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { openDatabase, type Database } from '@sotto/provisioning/database.ts'
import { readAccess } from '@sotto/provisioning/registry/access.ts'
import { addKey } from '@sotto/provisioning/registry/key.ts'
import { findMesh, inviteMesh } from '@sotto/provisioning/registry/mesh.ts'
import { insertNetwork } from '@sotto/provisioning/registry/network.ts'
import { someNetwork } from '@sotto/provisioning/registry/network.fixture.ts'
import { ensurePerson } from '@sotto/provisioning/registry/person.ts'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createDirectory } from '#identity/directory.ts'
import { createKeyring } from '#identity/keyring.ts'
import { ownNames } from '#listener/origin.ts'
import { systemClock } from './clock.ts'
import { createMeshSecrets } from './mesh-secrets.ts'
import { createRelayHttp } from './relay-http.ts'
import { createRelaySockets, type RelaySockets } from './relay-sockets.ts'
import { createRelay, type Relay } from './relay.ts'

const log = pino({ level: 'silent' })
const secret = 'sixteen letters!'
let directory: string
let database: Database
let server: Server
let sockets: RelaySockets
let relay: Relay
let keyring: ReturnType<typeof createKeyring>
let port: number
let rows: unknown[]
const clients: WebSocket[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-relay-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  await insertNetwork(database, someNetwork())
  keyring = createKeyring()
  rows = []
  const identity = { directory: createDirectory(someNetwork()), keyring }
  const { verify } = createMeshSecrets((meshId) => findMesh(database, meshId))
  relay = createRelay({ verify, seen() {}, clock: systemClock, log })
  sockets = createRelaySockets({ identity, names: () => ownNames([], 0), relay, pingEveryMs: 100 })
  const answer = createRelayHttp({
    database,
    self: { meshId: 'sotto-home', name: 'home' },
    follow: async () => keyring.update(await readAccess(database)),
    relay,
    identity,
    recorder: {
      ledger: { record: (row) => void rows.push(row), keepPrompt() {} },
      metrics: { observe() {}, talked() {} },
      opened: () => () => {},
    },
    log,
  })
  server = createServer((request, response) => {
    if (!answer(request, response, async () => ['PEM'])) response.writeHead(404).end()
  })
  server.on('upgrade', sockets.upgradeOutside)
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  ;({ port } = server.address() as AddressInfo)
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate()
  sockets.close()
  relay.close()
  server.closeAllConnections()
  server.close()
  await database.destroy()
  await rm(directory, { recursive: true, force: true })
})

async function register(body: unknown, headers: Readonly<Record<string, string>> = {}) {
  const answer = await fetch(`http://127.0.0.1:${port}/register`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers,
  })
  return { status: answer.status, body: await answer.json() }
}

async function open(headers: Readonly<Record<string, string>> = {}): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${port}/gateway`, { headers })
  clients.push(client)
  await once(client, 'open')
  return client
}

async function next(client: WebSocket): Promise<unknown> {
  const [data] = await once(client, 'message')
  return JSON.parse(String(data))
}

async function joined(meshId: string): Promise<WebSocket> {
  const { token } = await inviteMesh(database, meshId)
  await register({ meshId, secret, name: meshId, invitation: token })
  const client = await open()
  client.send(JSON.stringify({ type: 'gateway_auth', meshId, secret }))
  expect(await next(client)).toMatchObject({ type: 'gateway_auth_ok', meshId })
  return client
}

describe('POST /register', () => {
  it('is closed to strangers', async () => {
    const answer = await register({ meshId: 'eve', secret, name: 'Eve' })
    expect(answer.status).toBe(403)
    expect(answer.body).toEqual({ error: expect.stringContaining('Registration is closed') })
    expect(await findMesh(database, 'eve')).toBeUndefined()
    expect(rows).toMatchObject([{ path: '/register', status: 403, refusal: 'forbidden' }])
  })

  it('lets in by an invitation, as the protocol answers', async () => {
    const { token } = await inviteMesh(database, 'ada')
    const wish = { meshId: 'ada', secret, name: 'whatever' }
    expect(await register({ ...wish, invitation: 'x' })).toMatchObject({ status: 403 })
    expect(await register({ ...wish, invitation: token })).toEqual({ status: 200, body: { ok: true } })
    expect(await findMesh(database, 'ada')).toMatchObject({ name: 'ada' })
  })

  it('tells a gateway of our kind who we are', async () => {
    const { token } = await inviteMesh(database, 'ada')
    const { body } = await register({ meshId: 'a', secret, name: 'a', invitation: token, sotto: { v: 1 } })
    expect(body).toEqual({ ok: true, sotto: { meshId: 'sotto-home', name: 'home' } })
  })

  it('lets in by a key that says so, and by no other', async () => {
    const person = await ensurePerson(database, 'Ada')
    const may = await addKey(database, { name: 'relay', person, allowance: { services: ['relay'] } })
    const mayNot = await addKey(database, { name: 'chat', person })
    keyring.update(await readAccess(database))
    const wish = { meshId: 'ada', secret, name: 'Ada’s mesh'.replace('’', ' ') }
    const by = (text: string) => ({ authorization: `Bearer ${text}` })
    expect(await register(wish, by(mayNot.secret))).toMatchObject({ status: 403 })
    expect(await register(wish, by('sk-nothing'))).toMatchObject({ status: 401 })
    expect(await register(wish, by(may.secret))).toMatchObject({ status: 200 })
    expect(await register(wish, by(may.secret))).toMatchObject({ status: 409 })
    expect(JSON.stringify(rows)).not.toContain(may.secret)
  })

  it.each([
    ['no JSON', '{', 'Invalid JSON'],
    ['no object', '[]', 'Invalid JSON'],
    ['a field missing', { meshId: 'a', secret }, 'meshId, secret, and name required'],
    ['a short secret', { meshId: 'a', secret: 'short', name: 'a' }, 'secret: at least 16 characters'],
    ['an odd id', { meshId: 'a b', secret, name: 'a' }, expect.stringContaining('meshId:')],
  ])('says what is wrong with %s', async (_, body, error) => {
    expect(await register(body)).toEqual({ status: 400, body: { error } })
  })

  it('refuses what is too large, and the gateway’s own id', async () => {
    expect(await register('x'.repeat(20_000))).toMatchObject({ status: 413 })
    const { token } = await inviteMesh(database, 'ada')
    const wish = { meshId: 'sotto-home', secret, name: 'a', invitation: token }
    expect(await register(wish)).toMatchObject({ status: 409 })
  })
})

describe('GET /health', () => {
  it('says how many are connected', async () => {
    await joined('ada')
    const answer = await fetch(`http://127.0.0.1:${port}/health`)
    expect(await answer.json()).toEqual({ ok: true, connected: 1 })
  })
})

describe('a socket of the relay', () => {
  it('is no page’s', async () => {
    const client = new WebSocket(`ws://127.0.0.1:${port}/gateway`, { origin: 'https://elsewhere.example' })
    clients.push(client)
    const [error] = await once(client, 'error')
    expect(String(error)).toContain('403')
  })

  it('is told of a frame that is too large, and cut for one that no client sends by mistake', async () => {
    const client = await joined('ada')
    client.send('x'.repeat(10_241))
    expect(await next(client)).toEqual({ type: 'error', message: 'Payload too large (max 10240 bytes)' })
    client.send('x'.repeat(70_000))
    const [code] = await once(client, 'close')
    expect(code).toBe(1009)
  })

  it('is cut where the other side says nothing any more, not even to a ping', async () => {
    const { token } = await inviteMesh(database, 'ada')
    await register({ meshId: 'ada', secret, name: 'ada', invitation: token })
    // As a half-open path: what comes is read by nobody.
    const socket = connect(port, '127.0.0.1')
    const key = Buffer.from('sixteen letters!').toString('base64')
    socket.write(
      `GET /gateway HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    )
    socket.write(frameOf(JSON.stringify({ type: 'gateway_auth', meshId: 'ada', secret })))
    socket.on('error', () => {})
    socket.resume()
    await expect.poll(() => relay.meshes.length).toBe(1)
    await once(socket, 'close')
    await expect.poll(() => relay.meshes.length).toBe(0)
  })

  it('is cut where it reads too slowly, and the others are not', async () => {
    const [slow, quick, sender] = [await joined('slow'), await joined('quick'), await joined('sender')]
    slow.pause()
    let got = 0
    quick.on('message', () => (got += 1))
    // Gateways of ours are taken more from.
    const { token } = await inviteMesh(database, 'fast')
    await register({ meshId: 'fast', secret, name: 'fast', invitation: token })
    sender.close()
    const fast = await open()
    fast.send(JSON.stringify({ type: 'gateway_auth', meshId: 'fast', secret, sotto: 1 }))
    await next(fast)
    const payload = { message: { content: 'x'.repeat(10_000) } }
    for (let count = 0; count < 1_100; count += 1)
      fast.send(JSON.stringify({ type: 'gateway_relay', targetMeshId: 'slow', payload }))
    fast.send(JSON.stringify({ type: 'gateway_relay', targetMeshId: 'quick', payload }))
    await expect.poll(() => got, { timeout: 10_000 }).toBe(1)
    await expect.poll(() => relay.meshes.map(({ meshId }) => meshId)).not.toContain('slow')
  })
})

/** A text frame as a client sends it, RFC 6455 §5.2, of fewer than 126 bytes. */
function frameOf(text: string): Buffer {
  const body = Buffer.from(text)
  return Buffer.concat([Buffer.from([0x81, 0x80 | body.length, 0, 0, 0, 0]), body])
}
