/** Meshes, invitations and friends through their public functions, on a real database. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase, type Database } from '#database.ts'
import {
  addInvitedFriend,
  beginJoin,
  endJoin,
  giveUpJoin,
  listFriends,
  ownMeshId,
  removeFriend,
} from './friend.ts'
import {
  addMesh,
  findMesh,
  inviteMesh,
  listMeshes,
  listMeshInvitations,
  noteMeshes,
  redeemMeshInvitation,
} from './mesh.ts'
import { insertNetwork, readRevision } from './network.ts'
import { someNetwork } from './network.fixture.ts'
import { verifySecret } from './secret.ts'

let directory: string
let database: Database
const secret = 'sixteen letters!'
const start = new Date('2026-11-21T12:00:00Z')

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-mesh-'))
  database = await openDatabase(join(directory, 'sotto.db'))
  await insertNetwork(database, someNetwork())
})
afterEach(async () => {
  await database.destroy()
  await rm(directory, { recursive: true, force: true })
})

describe('a mesh', () => {
  it('takeover by /register: one that is there is never overwritten', async () => {
    await addMesh(database, { meshId: 'ada', secret, name: 'Ada' })
    const other = { meshId: 'ada', secret: 'another secret..', name: 'Eve' }
    await expect(addMesh(database, other)).rejects.toMatchObject({ code: 'mesh_exists' })
    const { token } = await inviteMesh(database, 'eve')
    await expect(redeemMeshInvitation(database, { ...other, token })).rejects.toMatchObject({
      code: 'mesh_exists',
    })
    const { secretHash = '', name } = (await findMesh(database, 'ada')) ?? {}
    expect(name).toBe('Ada')
    expect(await verifySecret(secretHash, secret)).toBe(true)
    expect(await verifySecret(secretHash, other.secret)).toBe(false)
    // And the invitation is not spent for it.
    expect(await listMeshInvitations(database)).toHaveLength(1)
  })

  it('unsalted secret: two of one secret have hashes that say nothing of it', async () => {
    const ada = await addMesh(database, { meshId: 'ada', secret, name: 'Ada' })
    const bob = await addMesh(database, { meshId: 'bob', secret, name: 'Bob' })
    expect(ada.secretHash).toMatch(/^\$argon2id\$/)
    expect(ada.secretHash).not.toBe(bob.secretHash)
  })

  it('has a name of its own', async () => {
    await addMesh(database, { meshId: 'ada', secret, name: 'Ada' })
    await expect(addMesh(database, { meshId: 'a2', secret, name: ' Ada ' })).rejects.toMatchObject({
      code: 'mesh_exists',
    })
    await expect(addMesh(database, { meshId: 'a3', secret, name: '\n' })).rejects.toMatchObject({
      code: 'mesh_name',
    })
  })

  it('is known by when and from where it was last, without waking the gateway for it', async () => {
    await addMesh(database, { meshId: 'ada', secret, name: 'Ada' })
    const revision = await readRevision(database)
    await noteMeshes(database, new Map([['ada', '192.0.2.7']]), start)
    expect(await listMeshes(database)).toMatchObject([
      { name: 'Ada', address: '192.0.2.7', lastAt: start.toISOString() },
    ])
    expect(await readRevision(database)).toBe(revision)
  })
})

describe('an invitation', () => {
  it('lets one mesh in, once, under the name that it says', async () => {
    const { token } = await inviteMesh(database, 'ada')
    const mesh = await redeemMeshInvitation(database, { meshId: 'm', secret, token })
    expect(mesh).toMatchObject({ meshId: 'm', name: 'ada' })
    await expect(redeemMeshInvitation(database, { meshId: 'n', secret, token })).rejects.toMatchObject({
      code: 'invitation_used',
    })
    expect(await listMeshInvitations(database)).toEqual([])
  })

  it('is answered alike again where the first answer was lost', async () => {
    const { token } = await inviteMesh(database, 'ada')
    const wish = { meshId: 'm', secret, token }
    const first = await redeemMeshInvitation(database, wish)
    expect(await redeemMeshInvitation(database, wish)).toEqual(first)
    await expect(
      redeemMeshInvitation(database, { ...wish, secret: 'another secret..' }),
    ).rejects.toMatchObject({ code: 'invitation_used' })
  })

  it('ends in time, and is kept as a hash alone', async () => {
    const { token, invitation } = await inviteMesh(database, 'ada', start)
    const late = new Date(invitation.expiresAt)
    await expect(
      redeemMeshInvitation(database, { meshId: 'm', secret, token }, undefined, late),
    ).rejects.toMatchObject({ code: 'invitation_expired' })
    await expect(redeemMeshInvitation(database, { meshId: 'm', secret, token: 'x' })).rejects.toMatchObject({
      code: 'invitation_unknown',
    })
    const rows = await database.selectFrom('mesh_invitations').selectAll().execute()
    expect(JSON.stringify(rows)).not.toContain(token)
  })

  it('is replaced by another of its name, and ends by it', async () => {
    const first = await inviteMesh(database, 'ada')
    await inviteMesh(database, 'ada')
    await expect(
      redeemMeshInvitation(database, { meshId: 'm', secret, token: first.token }),
    ).rejects.toMatchObject({ code: 'invitation_unknown' })
  })
})

describe('a friend', () => {
  const place = { name: 'bob', url: 'wss://bob.example/gateway', ca: 'PEM', fingerprint: 'AB' }

  it('is one only when it let us in; a join whose answer was lost goes on with its secret', async () => {
    const own = { meshId: await ownMeshId(database), secret: 'first' }
    await beginJoin(database, place, own)
    expect(await listFriends(database)).toEqual([])
    expect(await beginJoin(database, place, { ...own, secret: 'second' })).toEqual(own)
    await endJoin(database, 'bob', 'sotto-bob')
    expect(await listFriends(database)).toMatchObject([
      {
        name: 'bob',
        meshId: 'sotto-bob',
        direction: 'joined',
        relay: { url: place.url, ca: 'PEM', meshId: own.meshId, secret: 'first' },
      },
    ])
    await expect(beginJoin(database, place, own)).rejects.toMatchObject({ code: 'friend_exists' })
  })

  it('is forgotten where it did not let us in', async () => {
    await beginJoin(database, place, { meshId: 'me', secret })
    await giveUpJoin(database, 'bob')
    expect(await beginJoin(database, place, { meshId: 'me', secret: 'new' })).toMatchObject({ secret: 'new' })
  })

  it('is one gateway, whichever way it came', async () => {
    await addInvitedFriend(database, { name: 'bob', meshId: 'sotto-bob' })
    await beginJoin(database, { ...place, name: 'robert' }, { meshId: 'me', secret })
    await expect(endJoin(database, 'robert', 'sotto-bob')).rejects.toMatchObject({ code: 'friend_exists' })
  })

  it('goes with its place on our relay, and may be invited again', async () => {
    const { token } = await inviteMesh(database, 'bob')
    await redeemMeshInvitation(database, { meshId: 'sotto-bob', secret, token }, addInvitedFriend)
    expect(await listFriends(database)).toMatchObject([{ name: 'bob', direction: 'invited' }])
    await removeFriend(database, 'bob')
    expect([await listFriends(database), await listMeshes(database)]).toEqual([[], []])
    await inviteMesh(database, 'bob')
    await removeFriend(database, 'bob')
    expect(await listMeshInvitations(database)).toEqual([])
    await expect(removeFriend(database, 'bob')).rejects.toMatchObject({ code: 'friend_missing' })
  })

  it('knows us by one id', async () => {
    expect(await ownMeshId(database)).toMatch(/^sotto-[0-9a-f]{16}$/)
    expect(await ownMeshId(database)).toBe(await ownMeshId(database))
  })
})
