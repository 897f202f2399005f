/** What the admin reads and does of friends' gateways, through the routes that the page asks. */
import { addInvitedFriend, listFriends } from '@sotto/provisioning/registry/friend.ts'
import { redeemMeshInvitation } from '@sotto/provisioning/registry/mesh.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readInvitationCode } from '#federation/invitation.ts'
import type { InvitationAnswer, RelayList } from '#protocol/admin.ts'
import { serveAdmin, type ServedAdmin } from './admin.fixture.ts'

const relays = '/sotto/admin/relays'

describe('the admin’s relays', () => {
  let served: ServedAdmin
  beforeAll(async () => {
    served = await serveAdmin()
  })
  afterAll(() => served.close())

  const read = async (): Promise<RelayList> => {
    const answer: RelayList = JSON.parse((await served.ask(relays)).text)
    return answer
  }
  const invite = async (name: string): Promise<InvitationAnswer> => {
    const answer: InvitationAnswer = JSON.parse(
      (await served.change('POST', 'relays/invitations', { name })).text,
    )
    return answer
  }

  it('begin with nobody, and say who and where we are', async () => {
    expect(await read()).toEqual({
      self: { meshId: 'sotto-home', name: 'home' },
      addresses: ['wss://home.example:8444'],
      meshes: [],
      joined: [],
      invitations: [],
    })
  })

  it('are changed by nobody who did not confirm, and read by no other than the admin', async () => {
    const refused = await served.ask(`${relays}/invitations`, {
      method: 'POST',
      body: { name: 'ada' },
      headers: { origin: served.origin },
    })
    expect(refused.status).toBe(403)
    expect((await served.ask(relays, {}, served.tablet.address4)).status).toBe(403)
    expect((await read()).invitations).toEqual([])
  })

  it('have invitations, whose code is told once and can be taken back', async () => {
    const made = await invite('ada')
    expect(readInvitationCode(made.code)?.fingerprints).toHaveLength(1)
    const { text } = await served.ask(relays)
    expect(JSON.parse(text).invitations).toMatchObject([{ name: 'ada', expiresAt: made.expiresAt }])
    expect(text).not.toContain(made.code)
    expect((await served.change('DELETE', 'relays/ada')).status).toBe(204)
    expect((await read()).invitations).toEqual([])
    expect((await served.change('DELETE', 'relays/ada')).status).toBe(404)
  })

  it.each([
    ['no name', { name: 'Ada Lovelace' }, 400],
    ['what is not known', { name: 'ada', forever: true }, 400],
  ])('invite not for %s', async (_, body, status) => {
    expect((await served.change('POST', 'relays/invitations', body)).status).toBe(status)
  })

  it('show who came, and end it', async () => {
    const { token = '' } = readInvitationCode((await invite('bob')).code) ?? {}
    await redeemMeshInvitation(
      served.database,
      { token, meshId: 'sotto-bob', secret: 'sixteen letters!' },
      addInvitedFriend,
    )
    expect((await read()).meshes).toMatchObject([
      { name: 'bob', meshId: 'sotto-bob', friend: true, connected: false, at: null, waiting: 0 },
    ])
    expect((await served.change('POST', 'relays/invitations', { name: 'bob' })).status).toBe(409)
    expect((await served.change('DELETE', 'relays/bob')).status).toBe(204)
    expect(await listFriends(served.database)).toEqual([])
  })

  it('join nobody by half a code, nor where nobody answers, and keep nothing of it', async () => {
    const join = (code: string, url = 'wss://127.0.0.1:9') =>
      served.change('POST', 'relays/joined', { url, name: 'eve', code })
    const { code } = await invite('eve')
    expect((await join(code.slice(1))).json()).toMatchObject({ error: { code: 'invitation_code' } })
    expect((await join(code, 'http://127.0.0.1:9')).json()).toMatchObject({ error: { code: 'join_url' } })
    expect((await join(code)).json()).toMatchObject({ error: { code: 'join_unreachable' } })
    expect((await read()).joined).toEqual([])
  })
})
