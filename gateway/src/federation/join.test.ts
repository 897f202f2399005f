/** Joining over TLS on loopback: whom it trusts, and what it tells whom. */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { makeAuthority } from '@sotto/certs/authority.ts'
import { ensureLeaf } from '@sotto/certs/leaf.ts'
import { openDatabase, type Database } from '@sotto/provisioning/database.ts'
import { listFriends } from '@sotto/provisioning/registry/friend.ts'
import { insertNetwork } from '@sotto/provisioning/registry/network.ts'
import { someNetwork } from '@sotto/provisioning/registry/network.fixture.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fingerprintOf, inviteFriend, readInvitationCode, writeInvitationCode } from './invitation.ts'
import { joinRelay } from './join.ts'

const loopback = { dns: [], ip: ['127.0.0.1/32'] }
const token = Buffer.alloc(32, 7).toString('base64url')
let directory: string
let database: Database
const servers: Server[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-join-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  await insertNetwork(database, someNetwork())
})
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
  await database.destroy()
  await rm(directory, { recursive: true, force: true })
})

interface Gateway {
  readonly url: string
  readonly root: string
  /** Bodies that came to `/register`. */
  readonly registered: string[]
}

/** @param shown what `/ca.crt` gives, where that is not its own root */
async function gateway(
  name: string,
  shown?: string,
  answer: readonly [number, object] = welcome,
): Promise<Gateway> {
  const certs = join(directory, name)
  const authority = await makeAuthority(certs, { name, permitted: loopback })
  const registered: string[] = []
  const server = createServer(
    await ensureLeaf(authority, certs, { names: ['127.0.0.1'] }),
    async (request, response) => {
      if (request.url === '/ca.crt') {
        response.end(shown ?? authority.rootCertificate)
        return
      }
      registered.push(await text(request))
      response.writeHead(answer[0], { 'content-type': 'application/json' }).end(JSON.stringify(answer[1]))
    },
  )
  servers.push(server)
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  const { port } = server.address() as AddressInfo
  return { url: `wss://127.0.0.1:${port}`, root: authority.rootCertificate, registered }
}

const welcome = [200, { ok: true, sotto: { meshId: 'sotto-ada', name: 'home' } }] as const
const codeFor = ({ root }: Gateway) => writeInvitationCode({ token, fingerprints: [fingerprintOf(root)] })

describe('joining', () => {
  it('trusts the gateway that the invitation is from, and keeps by what', async () => {
    const ada = await gateway('ada')
    const joined = await joinRelay(database, { url: ada.url, name: 'ada', code: ` ${codeFor(ada)}\n` })
    expect(joined).toEqual({ name: 'ada', url: `${ada.url}/gateway`, meshId: 'sotto-ada' })
    expect(JSON.parse(ada.registered[0] ?? '')).toMatchObject({ invitation: token, sotto: { v: 1 } })
    expect(await listFriends(database)).toMatchObject([
      { name: 'ada', meshId: 'sotto-ada', direction: 'joined', relay: { ca: ada.root } },
    ])
  })

  it('tells nothing to another that answers in its place', async () => {
    const ada = await gateway('ada')
    const mallory = await gateway('mallory')
    await expect(
      joinRelay(database, { url: mallory.url, name: 'ada', code: codeFor(ada) }),
    ).rejects.toMatchObject({ code: 'join_untrusted' })
    expect(mallory.registered).toEqual([])
  })

  it('nor to one that shows the right authority and is not vouched for by it', async () => {
    const ada = await gateway('ada')
    const mallory = await gateway('mallory', ada.root)
    await expect(
      joinRelay(database, { url: mallory.url, name: 'ada', code: codeFor(ada) }),
    ).rejects.toMatchObject({ code: 'join_unreachable' })
    expect(mallory.registered).toEqual([])
    expect(await listFriends(database)).toEqual([])
  })

  it('says what the gateway said, and goes on with the same secret where its answer was lost', async () => {
    const lost = await gateway('lost', undefined, [502, {}])
    const wish = { url: lost.url, name: 'ada', code: codeFor(lost) }
    await expect(joinRelay(database, wish)).rejects.toMatchObject({ code: 'join_refused' })
    await expect(joinRelay(database, wish)).rejects.toMatchObject({ code: 'join_refused' })
    const [first, second] = lost.registered.map((body): unknown => JSON.parse(body).secret)
    expect(first).toBe(second)
    const closed = await gateway('closed', undefined, [403, { error: 'This invitation has been used.' }])
    await expect(
      joinRelay(database, { url: closed.url, name: 'bob', code: codeFor(closed) }),
    ).rejects.toThrow('This invitation has been used.')
  })

  it.each(['http://127.0.0.1', 'ws://home.example', 'wss://a:b@home.example', 'home.example', ''])(
    'dials nothing at “%s”',
    async (url) => {
      const code = writeInvitationCode({ token, fingerprints: [Buffer.alloc(32)] })
      await expect(joinRelay(database, { url, name: 'ada', code })).rejects.toMatchObject({
        code: 'join_url',
      })
    },
  )

  it('takes a relay of another kind by its id and secret', async () => {
    const wish = { url: 'wss://club.example', name: 'club', code: 'the secret\n', meshId: 'me' }
    expect(await joinRelay(database, wish)).toMatchObject({ meshId: null })
    expect(await listFriends(database)).toMatchObject([
      { name: 'club', relay: { url: 'wss://club.example/gateway', meshId: 'me', secret: 'the secret' } },
    ])
  })
})

describe('an invitation’s code', () => {
  it('holds the token and whom to trust, and tells a slip of the hand', async () => {
    const { rootCertificate } = await makeAuthority(join(directory, 'certs'), {
      name: 'x',
      permitted: loopback,
    })
    const { code } = await inviteFriend(database, join(directory, 'certs'), 'ada')
    expect(readInvitationCode(code)?.fingerprints).toEqual([fingerprintOf(rootCertificate)])
    for (const wrong of [
      code.slice(0, -1),
      code.slice(1),
      `${code}x`,
      code.replace(/.$/, '!'),
      '',
      'sotto-friend-',
    ])
      expect(readInvitationCode(wrong)).toBeUndefined()
  })
})
