/** What the admin's pages read. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { addKey } from '@sotto/provisioning/registry/key.ts'
import { setAllowance } from '@sotto/provisioning/registry/party.ts'
import { ensurePerson } from '@sotto/provisioning/registry/person.ts'
import { addRule } from '@sotto/provisioning/registry/rule.ts'
import type {
  AuditList,
  KeyList,
  LimitList,
  LinkList,
  Me,
  Overview,
  PeopleList,
  RuleList,
  ServiceList,
  ThreatList,
  UsageList,
} from '#protocol/admin.ts'
import type { Refusal } from '#protocol/devices.ts'
import { serveAdmin, type Asked, type ServedAdmin } from './admin.fixture.ts'

let admin: ServedAdmin
const fresh = async () => {
  admin = await serveAdmin()
}
const close = () => admin.close()

const pages = [
  'overview',
  'people',
  'links',
  'rules',
  'keys',
  'limits',
  'services',
  'usage',
  'audit',
  'audit/export',
  'threats',
].map((page) => `/sotto/admin/${page}`)

const refusal = (answer: Asked) => (answer.json() as Refusal).error

const read = async <Body>(path: string, from?: string): Promise<Body> => {
  const answer = await admin.ask(path, {}, from)
  expect(answer.status, answer.text).toBe(200)
  return answer.json() as Body
}

describe('who asks', () => {
  beforeAll(fresh)
  afterAll(close)

  it.each(pages)('%s is for the admin’s devices and the gateway’s machine alone', async (page) => {
    expect((await admin.ask(page)).status).toBe(200)
    expect((await admin.ask(page, {}, admin.phone.address4)).status).toBe(200)
    for (const from of [admin.tablet.address4, admin.guest, '127.77.0.99']) {
      const denied = await admin.ask(page, {}, from)
      expect(denied.status, from).toBe(403)
      expect(refusal(denied).code).toBe('forbidden')
    }
  })

  it('is nobody’s to see from a page elsewhere', async () => {
    const headers = { origin: 'https://elsewhere.example' }
    expect((await admin.ask('/sotto/admin/overview', { headers })).status).toBe(403)
  })

  it('is told with a key that a program is no admin', async () => {
    const { secret } = await addKey(admin.database, {
      name: 'cron',
      person: await ensurePerson(admin.database, 'Ada'),
    })
    await admin.follow()
    const headers = { authorization: `Bearer ${secret}` }
    expect((await admin.ask('/sotto/admin/keys', { headers }, admin.phone.address4)).status).toBe(403)
  })

  it('holds no hash, preshared key or upstream’s address, and is not cached', async () => {
    for (const page of [...pages, '/sotto/me']) {
      const { text, headers } = await admin.ask(page)
      expect(text, page).not.toMatch(/argon2|127\.0\.0\.1:9|presharedKey|token_hash/)
      expect(text, page).not.toContain(admin.phone.presharedKey)
      expect(headers['cache-control'], page).toBe('no-store')
    }
  })
})

describe('/sotto/me', () => {
  beforeEach(fresh)
  afterEach(close)

  it('says who one is', async () => {
    expect(await read<Me>('/sotto/me')).toMatchObject({
      name: 'this machine',
      person: null,
      tenant: 'home',
      admin: true,
      limits: [],
    })
    expect(await read<Me>('/sotto/me', admin.phone.address4)).toMatchObject({
      name: 'phone',
      person: 'Ada',
      admin: true,
      confirmedUntil: null,
      hasPassword: false,
    })
    expect(await read<Me>('/sotto/me', admin.tablet.address4)).toMatchObject({ person: 'Bob', admin: false })
    expect((await admin.ask('/sotto/me', {}, admin.guest)).status).toBe(403)
  })

  it('shows to each what holds it, and what is spent of it', async () => {
    await setAllowance(admin.database, 'tenant:home', { tokensPerDay: 1000 })
    await setAllowance(admin.database, 'device:tablet', { requestsPerMinute: 5 })
    await admin.follow()
    const { limits } = await read<Me>('/sotto/me', admin.tablet.address4)
    expect(limits).toMatchObject([
      { party: 'device:tablet', limits: { requestsPerMinute: 5, tokensPerDay: null } },
      { party: 'tenant:home', limits: { tokensPerDay: 1000 }, spent: { day: 0, month: 0, total: 0 } },
    ])
    expect((await read<Me>('/sotto/me', admin.phone.address4)).limits).toHaveLength(1)
  })
})

describe('lists', () => {
  beforeEach(fresh)
  afterEach(close)

  it('are of people, links, rules and limits', async () => {
    await addRule(admin.database, { action: 'allow', from: 'device:tablet', to: 'host' })
    await setAllowance(admin.database, 'device:tablet', { concurrent: 2 })
    await setAllowance(admin.database, 'device:phone', { concurrent: null })
    expect(await read<PeopleList>('/sotto/admin/people')).toEqual({
      tenants: [
        {
          name: 'home',
          disabled: false,
          home: true,
          people: [
            { name: 'Ada', admin: true, devices: 1, keys: 0, account: null },
            { name: 'Bob', admin: false, devices: 1, keys: 0, account: null },
          ],
        },
      ],
    })
    const { links } = await read<LinkList>('/sotto/admin/links')
    expect(links).toEqual([{ name: 'nas', createdAt: expect.any(String), expiresAt: expect.any(String) }])
    expect(await read<RuleList>('/sotto/admin/rules')).toEqual({
      rules: [{ id: 1, action: 'allow', from: 'device:tablet', to: 'host' }],
    })
    const { limits } = await read<LimitList>('/sotto/admin/limits')
    expect(limits).toMatchObject([{ party: 'device:tablet', limits: { concurrent: 2 } }])
  })

  it('are of keys, with their scope and last use', async () => {
    const { key } = await addKey(admin.database, {
      name: 'cron',
      person: await ensurePerson(admin.database, 'Ada'),
      device: admin.phone,
      allowance: { services: ['chat'], models: ['tiny*'] },
    })
    const at = Date.now()
    await admin.record({ key: 'cron', key_id: key.id, at })
    expect(await read<KeyList>('/sotto/admin/keys')).toEqual({
      keys: [
        {
          name: 'cron',
          person: 'Ada',
          state: 'active',
          prefixes: [expect.stringMatching(/^sk-sotto-.{10}$/)],
          device: 'phone',
          ranges: null,
          services: ['chat'],
          models: ['tiny*'],
          promptLogMs: null,
          createdAt: key.createdAt,
          expiresAt: null,
          lastUsedAt: new Date(at).toISOString(),
          lastAddress: '127.77.0.2',
          requests: 1,
        },
      ],
    })
  })

  it('are of services, with words for what is wrong', async () => {
    const { backends, services, aliases } = await read<ServiceList>('/sotto/admin/services')
    expect(backends).toEqual([
      {
        name: 'desk',
        kind: 'ollama',
        friend: null,
        up: false,
        problem: 'It does not answer.',
        models: [],
        loaded: [],
        running: 0,
        waiting: 0,
        parallel: 2,
      },
    ])
    expect(services).toMatchObject([
      { role: 'transcription', name: 'demo', up: false, problem: 'No Whisper is configured.' },
      { role: 'speech', name: 'none', up: false },
      { role: 'images', name: 'none', up: null },
    ])
    expect(aliases).toEqual({ small: 'tiny' })
  })
})

describe('reports', () => {
  beforeEach(fresh)
  afterEach(close)

  const dayMs = 86_400_000
  const hoursAgo = (hours: number) => Date.now() - hours * 3_600_000

  it('sum up today and what looks wrong', async () => {
    const refused = { status: 403, refusal: 'forbidden', service: null, input_tokens: 0, output_tokens: 0 }
    await admin.record(...Array.from({ length: 25 }, () => refused), {}, { at: Date.now() - 2 * dayMs })
    const overview = await read<Overview>('/sotto/admin/overview')
    expect(overview).toEqual({
      version: expect.any(String),
      startedAt: '2026-11-21T12:00:00.000Z',
      origins: ['https://127.77.0.1:8443'],
      fingerprint: 'AB:CD',
      certificateExpiresAt: '2027-01-01T00:00:00.000Z',
      network: {
        range4: '127.77.0.0/24',
        range6: 'fd12:3456:789a::/64',
        endpoint: 'home.example:51820',
        implementation: 'kernel',
      },
      devices: { online: 0, all: 2 },
      today: { requests: 26, refused: 25, tokens: 8 },
      threats: 1,
      troubles: [],
    })
    const { threats } = await read<ThreatList>('/sotto/admin/threats?days=1')
    expect(threats).toMatchObject([{ kind: 'failures', who: 'device “phone”' }])
    expect(Date.parse(threats[0]?.at ?? '')).toBeGreaterThan(hoursAgo(1))
  })

  it('show what was used by day, from the first one asked for', async () => {
    await admin.record({}, { model: 'large' }, { at: Date.now() - 3 * dayMs })
    const { since, rows } = await read<UsageList>('/sotto/admin/usage?days=2')
    expect(since).toBe(new Date(Date.now() - dayMs).toISOString().slice(0, 10))
    expect(rows.map(({ model, requests, inputTokens }) => [model, requests, inputTokens])).toEqual(
      expect.arrayContaining([
        ['tiny', 1, 5],
        ['large', 1, 5],
      ]),
    )
    expect((await read<UsageList>('/sotto/admin/usage?days=30')).rows).toHaveLength(3)
  })

  it('page through the audit, the newest first, each row once', async () => {
    // Some came at the same moment.
    await admin.record(
      ...Array.from({ length: 25 }, (_, n) => ({ at: hoursAgo(1 + (n % 5)), path: `/${n}` })),
    )
    const seen: string[] = []
    let next: string | null = ''
    while (next !== null) {
      const page: AuditList = await read(`/sotto/admin/audit?limit=10${next && `&before=${next}`}`)
      seen.push(...page.rows.map(({ path }) => path))
      ;({ next } = page)
    }
    expect(new Set(seen).size).toBe(25)
    expect(seen).toHaveLength(25)
    expect(seen.slice(0, 5).toSorted()).toEqual(['/0', '/10', '/15', '/20', '/5'])
  })

  it('find in the audit who, what and when', async () => {
    await admin.record(
      { path: '/a', device: 'phone', person: 'Ada', service: 'chat' },
      { path: '/b', device: 'tablet', person: 'Bob', service: 'speech' },
      { path: '/c', key: 'cron', key_id: 'k', status: 429, refusal: 'quota', person: 'Bob' },
      { path: '/d', at: hoursAgo(30) },
    )
    const paths = async (query: string) =>
      (await read<AuditList>(`/sotto/admin/audit?${query}`)).rows.map(({ path }) => path).toSorted()
    expect(await paths('')).toEqual(['/a', '/b', '/c', '/d'])
    expect(await paths('device=tablet')).toEqual(['/b'])
    expect(await paths('person=Bob')).toEqual(['/b', '/c'])
    expect(await paths('service=speech')).toEqual(['/b'])
    expect(await paths('key=cron&denied=1')).toEqual(['/c'])
    expect(await paths(`since=${new Date(hoursAgo(1)).toISOString()}`)).toEqual(['/a', '/b', '/c'])
    for (const query of ['since=yesterday', 'limit=0', 'before=x']) {
      const refused = await admin.ask(`/sotto/admin/audit?${query}`)
      expect(refused.status).toBe(400)
      expect(refusal(refused).message).toMatch(/^(since|limit|before): /)
    }
  })

  it('give the audit as CSV, whole, and no cell runs in a spreadsheet', async () => {
    await admin.record(...Array.from({ length: 2_100 }, (_, n) => ({ at: hoursAgo(2), path: `/${n}` })), {
      path: '=HYPERLINK("https://elsewhere.example","a")',
      device: 'Ada, “phone”\n2',
    })
    const { text, headers } = await admin.ask('/sotto/admin/audit/export')
    expect(headers['content-type']).toBe('text/csv; charset=utf-8')
    expect(headers['content-disposition']).toMatch(/attachment; filename="?sotto-audit-[\d-]+\.csv/)
    const lines = text.split('\r\n')
    expect(lines[0]).toMatch(/^\uFEFFid,at,requestId,tenant,/)
    expect(lines[1]).toContain('"\'=HYPERLINK(""https://elsewhere.example"",""a"")"')
    expect(lines[1]).toContain('"Ada, “phone”\n2"')
    expect(lines.filter((line) => line !== '')).toHaveLength(2_102)
    const some = await admin.ask('/sotto/admin/audit/export?person=nobody')
    expect(some.text.trim().split('\r\n')).toHaveLength(1)
  })
})
