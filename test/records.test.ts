/** Keys, limits and what is written down: by the commands that an admin types, on a real overlay. */
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  joinOverlay,
  sotto,
  startGateway,
  startStandIn,
  temporaryDirectory,
  trust,
  type RunningGateway,
} from './lab/gateway.ts'
import { createLab, type Lab } from './lab/lab.ts'

const question = { model: 'stand-in', messages: [{ role: 'user', content: 'one two three' }] }

const requests = z.object({
  requests: z.array(
    z.looseObject({
      request_id: z.string(),
      status: z.number(),
      ended: z.string(),
      key: z.string().nullable(),
      device: z.string().nullable(),
      person: z.string().nullable(),
      model: z.string().nullable(),
      input_tokens: z.number(),
      output_tokens: z.number(),
    }),
  ),
})

/** Runs a command beside a gateway; fails where it fails. */
function admin(state: string) {
  return async (...args: string[]) => {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }
}

describe('a program with a key, on a device', () => {
  let lab: Lab
  let gateway: RunningGateway
  let run: ReturnType<typeof admin>
  let state: string
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(ollama.stop)
    state = `${folder.path}/state`
    const endpoint = ['--endpoint', lab.hub.address4, '--ollama', ollama.url]
    gateway = await startGateway(lab.hub, state, ...endpoint)
    closers.push(() => gateway.stop())
    run = admin(state)
    await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '', 'phone')
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  /** Asks from the device. */
  const ask = async (secret: string | undefined, path = '/api/chat', body: object = question) => {
    const key = secret === undefined ? [] : ['-H', `Authorization: Bearer ${secret}`]
    const { stdout, exitCode } = await lab.device.run(
      'curl',
      '-sS',
      '--max-time',
      '20',
      '--cacert',
      `${state}/certs/root.crt`,
      ...key,
      '-w',
      '%{http_code}',
      '-d',
      JSON.stringify({ stream: false, ...body }),
      `${gateway.origins[0]}${path}`,
    )
    return { status: Number(stdout.slice(-3)), text: stdout.slice(0, -3), exitCode }
  }

  it('needs none as a device: its address says who it is', async () => {
    expect((await ask(undefined)).status).toBe(200)
    expect((await ask('anything-that-is-no-key')).status).toBe(200)
    const { requests: rows } = requests.parse(await run('audit', '--device', 'phone'))
    expect(rows.slice(0, 2)).toMatchObject([
      { device: 'phone', key: null, status: 200, model: 'stand-in:latest' },
      { device: 'phone', key: null, status: 200 },
    ])
    expect(JSON.stringify(rows)).not.toContain('one two three')
  })

  it('is shown its secret once, and is let in by it until it is rotated, disabled and removed', async () => {
    const { secret } = await run('key', 'add', 'script')
    expect(secret).toMatch(/^sk-sotto-/)
    expect((await ask(secret)).status).toBe(200)
    const listed = await run('key', 'list')
    expect(listed.keys).toMatchObject([
      { name: 'script', state: 'active', lastUse: { address: '10.77.0.2', requests: 1 } },
    ])
    expect(JSON.stringify(listed)).not.toMatch(/argon2|\$/)
    const { secret: next } = await run('key', 'rotate', 'script', '--overlap', '2s')
    expect([(await ask(secret)).status, (await ask(next)).status]).toEqual([200, 200])
    await expect.poll(async () => (await ask(secret)).status, { timeout: 10_000 }).toBe(401)
    expect((await ask(next)).status).toBe(200)
    await run('key', 'disable', 'script')
    expect((await ask(next)).status).toBe(401)
    await run('key', 'enable', 'script')
    expect((await ask(next)).status).toBe(200)
    await run('key', 'remove', 'script')
    expect((await ask(next)).status).toBe(401)
  })

  it('may be bound to a device, or to addresses', async () => {
    const { secret: bound } = await run('key', 'add', 'bound', '--device', 'phone')
    expect((await ask(bound)).status).toBe(200)
    const { secret: elsewhere } = await run('key', 'add', 'elsewhere', '--from', '10.77.0.100/30,fd00::/8')
    expect((await ask(elsewhere)).status).toBe(403)
  })

  it('has its stream ended within a second after its key is disabled', async () => {
    const { secret } = await run('key', 'add', 'reader')
    const words = Array.from({ length: 600 }, (_, at) => `word${at}`).join(' ')
    const reading = ask(secret, '/api/generate', { model: 'stand-in', prompt: words, stream: true })
    await pause(1_000)
    await run('key', 'disable', 'reader')
    const disabled = performance.now()
    const { text, exitCode } = await reading
    expect(performance.now() - disabled).toBeLessThan(1_000)
    expect(exitCode).not.toBe(0)
    expect(text).toContain('word20')
    expect(text).not.toContain('"done":true')
  })

  it('is held to what its key, its tenant and its device may', async () => {
    const { secret } = await run('key', 'add', 'small', '--models', 'other*')
    expect((await ask(secret)).status).toBe(404)
    await run('limit', 'key:small', '--models', 'all', '--tokens-per-day', '150')
    expect((await ask(secret, '/api/chat', { ...question, options: { num_predict: 8 } })).status).toBe(200)
    const { left } = await run('limit', 'key:small')
    expect(left.tokensPerDay).toBeLessThan(150)
    expect((await ask(secret, '/api/chat', { ...question, options: { num_predict: 400 } })).status).toBe(429)
    await run('limit', 'device:phone', '--requests-per-minute', '1')
    expect((await ask(undefined)).status).toBe(200)
    const refused = await ask(undefined, '/v1/chat/completions')
    expect([refused.status, JSON.parse(refused.text)]).toMatchObject([
      429,
      { error: { code: 'rate_limit_exceeded', message: expect.stringContaining('device “phone”') } },
    ])
    await run('limit', 'device:phone', '--requests-per-minute', 'none')
    expect((await ask(undefined)).status).toBe(200)
    await run('tenant', 'add', 'guests')
    const { secret: guest } = await run('key', 'add', 'visitor', '--person', 'bob')
    await run('tenant', 'move', 'bob', 'guests')
    expect((await ask(guest)).status).toBe(200)
    await run('limit', 'tenant:guests', '--services', 'embeddings')
    expect((await ask(guest)).status).toBe(403)
    await run('tenant', 'disable', 'guests')
    expect((await ask(guest, '/api/embed', { model: 'stand-in', input: 'x' })).status).toBe(403)
    expect((await ask(undefined)).status).toBe(200)
  })

  it('is found in the usage, by whatever one wants it by', async () => {
    const by = async (what: string): Promise<string[]> =>
      (await run('usage', '--by', what)).usage.map(({ name }: { name: string }) => name)
    expect(await by('model')).toContain('stand-in:latest')
    expect(await by('key')).toEqual(expect.arrayContaining(['script', 'small', 'visitor']))
    expect(await by('tenant')).toEqual(expect.arrayContaining(['home', 'guests']))
    expect(await by('device')).toEqual(['phone'])
    expect(await by('person')).toContain('bob')
    expect(await by('day')).toEqual([new Date().toISOString().slice(0, 10)])
  })

  it('that tries keys is found among the threats, with the command that acts on it', async () => {
    for (let at = 0; at < 21; at += 1) await ask(`sk-sotto-${'x'.repeat(at)}`)
    const { threats } = await run('audit', '--threats', '--since', '5m')
    expect(threats).toContainEqual(
      expect.objectContaining({ kind: 'failures', command: './sotto device disable "phone"' }),
    )
    const { requests: denied } = requests.parse(await run('audit', '--denied'))
    expect(denied.every(({ status }) => status >= 400)).toBe(true)
    const { people } = await run('audit', '--people')
    expect(people).toContainEqual(expect.objectContaining({ person: 'bob' }))
  })

  it('has its prompts kept where its key says so, for as long as it says', async () => {
    const { secret } = await run('key', 'add', 'watched', '--log-prompts', '3s')
    await ask(secret)
    const kept = async () => (await run('audit', '--prompts', 'watched')).prompts
    expect(await kept()).toMatchObject([
      { request: expect.stringContaining('one two three'), response: expect.stringContaining('You said') },
    ])
    await expect.poll(kept, { timeout: 10_000 }).toEqual([])
  })
})

describe('a gateway that is killed under load', () => {
  // A full machine may be late once; a writer that waits too long is so each time.
  it('loses at most 100 ms of its audit, and nothing of a budget', { retry: 2 }, async () => {
    const folder = await temporaryDirectory()
    const ollama = await startStandIn(undefined, 'ollama')
    const state = `${folder.path}/state`
    const start = () => startGateway(undefined, state, '--loopback', '--port', '0', '--ollama', ollama.url)
    const run = admin(state)
    const first = await start()
    const { secret } = await run('key', 'add', 'load', '--tokens-per-day', '1000000')
    await trust(state)
    const answered: { id: string; at: number; tokens: number }[] = []
    let sent = 0
    const worker = async (): Promise<void> => {
      for (;;) {
        sent += 1
        const answer = await fetch(`${first.origins[0]}/api/chat`, {
          method: 'POST',
          headers: { authorization: `Bearer ${secret}` },
          body: JSON.stringify({ ...question, stream: false, options: { num_predict: 3 } }),
        })
        const body = z
          .object({ prompt_eval_count: z.number(), eval_count: z.number() })
          .parse(await answer.json())
        answered.push({
          id: answer.headers.get('x-request-id') ?? '',
          at: Date.now(),
          tokens: body.prompt_eval_count + body.eval_count,
        })
      }
    }
    const load = Array.from({ length: 16 }, () => worker().catch(() => {}))
    await pause(3_000)
    const killed = Date.now()
    first.process.kill('SIGKILL')
    await Promise.all(load)

    const { requests: rows } = requests.parse(await run('audit', '--limit', '100000'))
    const written = new Set(rows.map(({ request_id: id }) => id))
    const lost = answered.filter(({ id }) => !written.has(id))
    expect(answered.length).toBeGreaterThan(50)
    expect(lost.filter(({ at }) => at < killed - 100)).toEqual([])
    // All that was answered, and what was on its way, is taken; no request is forgotten by the crash.
    const spent = answered.reduce((sum, { tokens }) => sum + tokens, 0)
    const left = async (): Promise<number> => (await run('limit', 'key:load')).left.tokensPerDay
    const after = await left()
    expect(after).toBeLessThanOrEqual(1_000_000 - spent)
    const second = await start()
    expect(await left()).toBe(after)
    process.stdout.write(
      `· Killed at ${answered.length} answers (${sent - answered.length} on their way): ${lost.length} audit rows lost, all of the last ${Math.max(0, ...lost.map(({ at }) => killed - at))} ms; ${spent} tokens were answered, ${1_000_000 - after} are counted\n`,
    )
    await second.stop()
    await ollama.stop()
    await folder.remove()
  })
})
