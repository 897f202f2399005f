import { afterEach, describe, expect, it } from 'vitest'
import { serveApi, type ServeOptions } from '#api/serve.fixture.ts'
import { json, ndjson, serveOllama, type Call } from '#engines/upstream.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const answered = ({ response }: Call) => json(response, 200, { message: { content: 'Hi' }, done: true })

async function open(options: ServeOptions, answer: (call: Call) => unknown = answered) {
  const ollama = await serveOllama(answer)
  const api = await serveApi({ ollama: ollama.url, ...options })
  closers.push(ollama.close, api.close)
  const ask = (headers: Record<string, string>) =>
    fetch(`${api.url}/api/chat`, { method: 'POST', headers, body: '{"model":"tiny","stream":false}' })
  return { ...api, ollama, ask }
}

describe('an API key', () => {
  it('is taken as a bearer and as X-API-Key, and its use is written down', async () => {
    const { ask, secrets, rows } = await open({ keys: { script: {} } })
    expect((await ask({ authorization: `Bearer ${secrets.script}` })).status).toBe(200)
    expect((await ask({ 'x-api-key': secrets.script ?? '' })).status).toBe(200)
    expect(await rows('audit')).toMatchObject([{ key: 'script' }, { key: 'script' }])
    expect(await rows('key_uses')).toMatchObject([{ key_id: 'script', address: '127.0.0.1', requests: 2 }])
  })

  it('is not needed by a device, whose client may send anything that is none of ours', async () => {
    const { ask, rows } = await open({})
    expect((await ask({ authorization: 'Bearer ollama' })).status).toBe(200)
    expect(await rows('audit')).toMatchObject([{ key: null, device: 'this machine' }])
  })

  it('is refused with 401 where it is wrong by a character, and not by the device that sends it let in', async () => {
    const { ask, secrets } = await open({ keys: { script: {} } })
    const right = secrets.script ?? ''
    const other = right.slice(0, 30) + (right[30] === 'A' ? 'B' : 'A') + right.slice(31)
    for (const wrong of [other, 'sk-sotto-', right.slice(0, -1)]) {
      const answer = await ask({ authorization: `Bearer ${wrong}` })
      expect(answer.status, wrong).toBe(401)
      expect(await answer.text()).not.toContain(wrong.slice(20) || 'sk-sotto')
    }
  })

  it('is bound to addresses where it has some', async () => {
    const { ask, secrets } = await open({
      keys: { here: { ranges: ['127.0.0.0/8'] }, there: { ranges: ['10.0.0.0/8', 'fd00::/8'] } },
    })
    expect((await ask({ 'x-api-key': secrets.here ?? '' })).status).toBe(200)
    expect((await ask({ 'x-api-key': secrets.there ?? '' })).status).toBe(403)
  })

  it('ends at its time', async () => {
    const { ask, secrets } = await open({
      keys: { brief: { expiresAt: new Date(Date.now() + 700).toISOString() } },
    })
    expect((await ask({ 'x-api-key': secrets.brief ?? '' })).status).toBe(200)
    await expect
      .poll(async () => (await ask({ 'x-api-key': secrets.brief ?? '' })).status, { timeout: 3_000 })
      .toBe(401)
  })

  it('that is revoked ends the stream that it has open', async () => {
    const { url, secrets, update } = await open({ keys: { script: {} } }, ({ response }) => {
      ndjson(response)({ message: { content: 'On and on' }, done: false })
    })
    const answer = await fetch(`${url}/api/chat`, {
      method: 'POST',
      headers: { 'x-api-key': secrets.script ?? '' },
      body: '{"model":"tiny"}',
    })
    const reader = answer.body!.getReader()
    await reader.read()
    const start = performance.now()
    update((access) => ({ ...access, keys: [] }))
    await expect(reader.read()).rejects.toThrow()
    expect(performance.now() - start).toBeLessThan(1_000)
  })

  it('is proved once for all that bring it at the same time, and counts as no guess', async () => {
    const { ask, secrets } = await open({ keys: { script: {} } })
    const first = await Promise.all(
      Array.from({ length: 100 }, () => ask({ 'x-api-key': secrets.script ?? '' })),
    )
    expect(new Set(first.map(({ status }) => status))).toEqual(new Set([200]))
  })

  it('is found by right callers at full speed while 1,000 wrong ones are tried', async () => {
    const { ask, secrets } = await open({ keys: { script: {} } })
    const right = () => ask({ 'x-api-key': secrets.script ?? '' })
    await right()
    const { makeSecret } = await import('@sotto/provisioning/registry/secret.ts')
    const known = (secrets.script ?? '').slice(0, 19)
    // Half of them have the prefix of a key that there is, and a checksum that is right: the costliest.
    const { createHash, randomBytes } = await import('node:crypto')
    const forged = () => {
      const body = `${known}-${randomBytes(32).toString('base64url')}`
      return body + createHash('sha256').update(body).digest('base64url').slice(0, 6)
    }
    const flood = Array.from({ length: 1_000 }, (_, at) => (at % 2 === 0 ? makeSecret().text : forged()))
    const cpu = process.cpuUsage()
    const wrong = Promise.all(flood.map(async (text) => (await ask({ 'x-api-key': text })).status))
    const rights = await Promise.all(Array.from({ length: 50 }, async () => (await right()).status))
    const statuses = await wrong
    const { user } = process.cpuUsage(cpu)
    expect(rights).toEqual(Array.from({ length: 50 }, () => 200))
    expect(new Set(statuses)).toEqual(new Set([401, 429]))
    // 500 proofs at 13 ms would be 6.5 s of CPU; 20 a minute are a quarter of one.
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(470)
    expect(user / 1e6).toBeLessThan(6.5)
  })
})
