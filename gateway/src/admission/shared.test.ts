/** Several gateways that count in one Valkey, each with a ledger of its own. */
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { serveApi, type ServeOptions } from '#api/serve.fixture.ts'
import { json, serveOllama, type Call } from '#engines/upstream.fixture.ts'
import { startRedis, type Redis } from '#valkey/redis.fixture.ts'

let redis: Redis
const closers: (() => unknown)[] = []
beforeEach(async () => {
  redis = await startRedis()
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await redis.close()
})

/** Answers with all the output that was asked for. */
const spendAll = ({ body, response }: Call) => {
  const { options } = JSON.parse(body.toString()) as { options?: { num_predict?: number } }
  json(response, 200, {
    message: { content: 'x' },
    done: true,
    prompt_eval_count: 40,
    eval_count: options?.num_predict ?? 1,
  })
}

async function gateways(
  count: number,
  options: Omit<ServeOptions, 'valkey'>,
  answer: (call: Call) => unknown = spendAll,
) {
  const ollama = await serveOllama(answer, { models: [{ name: 'tiny:latest' }] })
  closers.push(ollama.close)
  const all = await Promise.all(
    Array.from({ length: count }, () =>
      serveApi({ ollama: ollama.url, parallel: 256, valkey: { url: redis.url }, ...options }),
    ),
  )
  closers.push(...all.map(({ close }) => close))
  return { all, ollama }
}

const ask = (url: string, output = 20, path = '/api/chat', headers: Record<string, string> = {}) =>
  fetch(`${url}${path}`, {
    method: 'POST',
    headers,
    body: JSON.stringify({
      model: 'tiny',
      stream: false,
      ...(path === '/api/chat' ? { options: { num_predict: output } } : { max_tokens: output }),
      messages: [{ role: 'user', content: 'Hi' }],
    }),
  })

const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0)

/** What Valkey has of today's budget. */
async function counted(subject: string): Promise<number> {
  const day = new Date().toISOString().slice(0, 10)
  const fields = (await redis.ask('HGETALL', `{sotto}:budget:${subject} day:${day}`)) as object
  return sum(Object.entries(fields).flatMap(([field, tokens]) => (field === 'run' ? [] : [Number(tokens)])))
}

/** What all of them have written down. */
async function written(all: readonly Awaited<ReturnType<typeof serveApi>>[]): Promise<number> {
  const rows = (await Promise.all(all.map((one) => one.rows('spending')))).flat()
  return sum(rows.filter(({ window }) => String(window).startsWith('day:')).map(({ used }) => Number(used)))
}

describe('several gateways', () => {
  it('hold a caller to its requests of the minute together', async () => {
    const { all } = await gateways(3, { tenant: { requestsPerMinute: 10 } })
    const statuses: number[] = []
    for (let round = 0; round < 15; round += 1) statuses.push((await ask(all[round % 3]!.url)).status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(10)
    expect(statuses.slice(10)).toEqual([429, 429, 429, 429, 429])
  })

  it('hold a caller to as many at once together, and let go when one ends', async () => {
    const held = Promise.withResolvers<void>()
    const { all, ollama } = await gateways(3, { tenant: { concurrent: 3 } }, async (call) => {
      await held.promise
      spendAll(call)
    })
    const three = all.map(({ url }) => ask(url))
    await expect.poll(() => ollama.calls.length).toBe(3)
    expect(await Promise.all(all.map(async ({ url }) => (await ask(url)).status))).toEqual([429, 429, 429])
    held.resolve()
    expect((await Promise.all(three)).map(({ status }) => status)).toEqual([200, 200, 200])
    await expect.poll(async () => (await ask(all[0]!.url)).status).toBe(200)
  })

  it('do not overspend a budget by a token with 300 requests at once, and agree with what is written', async () => {
    const { all } = await gateways(3, { tenant: { tokensPerDay: 8_000 } })
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, at) => ask(all[at % 3]!.url, 20 + (at % 7) * 13)),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 429]))
    const spent = await written(all)
    expect(spent).toBeLessThanOrEqual(8_000)
    expect(spent).toBeGreaterThan(4_000)
    await expect.poll(() => counted('tenant:home')).toBe(spent)
  })

  it('are told of what a gateway has spent that is no more, and take it for spent', async () => {
    const first = await gateways(1, { tenant: { tokensPerDay: 1_000 } })
    expect((await ask(first.all[0]!.url, 700)).status).toBe(200)
    const second = await gateways(1, { tenant: { tokensPerDay: 1_000 } })
    const refused = await ask(second.all[0]!.url, 500)
    expect([refused.status, await refused.text()]).toEqual([429, expect.stringContaining('260 tokens left')])
  })

  it('keep every key for a time alone', async () => {
    const { all } = await gateways(1, {
      tenant: { tokensPerDay: 9_000, tokensInTotal: 9_000, requestsPerMinute: 9, tokensPerMinute: 9_000 },
      keys: { small: { concurrent: 2 } },
    })
    expect((await ask(all[0]!.url)).status).toBe(200)
    const keys = (await redis.ask('KEYS', '*')) as string[]
    expect(keys.length).toBeGreaterThanOrEqual(5)
    for (const key of keys) expect(Number(await redis.ask('PTTL', key)), key).toBeGreaterThan(0)
  })
})

describe('while Valkey is away', () => {
  const limited = { tenant: { requestsPerMinute: 10_000, tokensPerDay: 50_000 } }

  it('who has limits is refused in the words of the dialect, who has none is served, and it comes back by itself', async () => {
    const { all } = await gateways(2, limited)
    const free = await gateways(1, {})
    const [one] = all
    expect((await ask(one!.url)).status).toBe(200)
    await redis.crash()
    const shapes = {
      '/api/chat': { error: expect.stringContaining('Limits') },
      '/v1/chat/completions': { error: { type: 'api_error', code: 'unavailable' } },
      '/v1/messages': { type: 'error', error: { type: 'overloaded_error' } },
    }
    await expect.poll(async () => (await ask(one!.url)).status).toBe(503)
    for (const [path, shape] of Object.entries(shapes)) {
      const refused = await ask(one!.url, 5, path)
      expect([refused.status, await refused.json()], path).toMatchObject([503, shape])
      expect(Number(refused.headers.get('retry-after')), path).toBeGreaterThan(0)
    }
    expect(await (await fetch(`${one!.url}/health`)).json()).toMatchObject({
      status: 'degraded',
      valkey: 'away',
    })
    expect((await ask(free.all[0]!.url)).status).toBe(200)
    await redis.start()
    for (const { url } of all)
      await expect.poll(async () => (await ask(url)).status, { timeout: 20_000 }).toBe(200)
    expect(await (await fetch(`${one!.url}/health`)).json()).toMatchObject({ valkey: 'ready' })
  })

  it('nothing of a budget is forgotten, though the server has lost all that it had', async () => {
    const { all } = await gateways(3, { tenant: { tokensPerDay: 2_100 } })
    for (const { url } of all) expect((await ask(url, 500)).status).toBe(200)
    await redis.crash()
    await redis.start()
    const answers: number[] = []
    await expect
      .poll(
        async () => {
          answers.push((await ask(all[0]!.url, 500)).status)
          return answers.at(-1)
        },
        { timeout: 20_000 },
      )
      .toBe(429)
    expect(new Set(answers)).toEqual(new Set([503, 429]))
    expect((await ask(all[1]!.url, 300)).status).toBe(200)
    expect(await written(all)).toBe(3 * 540 + 340)
    await expect.poll(() => counted('tenant:home')).toBe(3 * 540 + 340)
  })

  it('nor what a gateway has spent that is gone, where the ledger of all is one', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sotto-shared-'))
    closers.push(() => rm(folder, { recursive: true }))
    const options = { tenant: { tokensPerDay: 1_000 }, ledger: join(folder, 'ledger.db') }
    const ollama = await serveOllama(spendAll, { models: [{ name: 'tiny:latest' }] })
    closers.push(ollama.close)
    const gone = await serveApi({ ollama: ollama.url, valkey: { url: redis.url }, ...options })
    expect((await ask(gone.url, 700)).status).toBe(200)
    await gone.close()
    const { all } = await gateways(1, options)
    await redis.crash()
    await redis.start()
    const status = async () => (await ask(all[0]!.url, 500)).status
    await expect.poll(status, { timeout: 20_000 }).not.toBe(503)
    expect(await status()).toBe(429)
    expect((await ask(all[0]!.url, 100)).status).toBe(200)
    await expect.poll(() => counted('tenant:home')).toBe(740 + 140)
  })

  it('for a while and not ended: what it reads late of an older connection changes nothing', async () => {
    const open: (() => void)[] = []
    let holds = true
    const limits = { tenant: { tokensPerDay: 30_000, concurrent: 40 } }
    const { all, ollama } = await gateways(2, limits, (call) => {
      if (holds) open.push(() => spendAll(call))
      else spendAll(call)
    })
    const asked = Array.from({ length: 20 }, (_, at) => ask(all[at % 2]!.url, 300))
    await expect.poll(() => ollama.calls.length).toBe(20)
    redis.kill('SIGSTOP')
    // Their ends are said to a server that does not read, on connections that are given up.
    for (const end of open.splice(0, 10)) end()
    await expect.poll(async () => (await ask(all[0]!.url)).status, { timeout: 20_000 }).toBe(503)
    await expect.poll(async () => (await ask(all[1]!.url)).status, { timeout: 20_000 }).toBe(503)
    redis.kill('SIGCONT')
    for (const { url } of all)
      await expect
        .poll(async () => (await (await fetch(`${url}/health`)).json()) as object, { timeout: 20_000 })
        .toMatchObject({ valkey: 'ready' })
    for (const end of open.splice(0)) end()
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(asked.map(() => 200))
    const spent = await written(all)
    expect(spent).toBe(20 * 340)
    await expect.poll(() => counted('tenant:home')).toBe(spent)
    // What an older connection had open is swept by the next request.
    holds = false
    expect((await ask(all[0]!.url)).status).toBe(200)
    await expect.poll(() => redis.ask('KEYS', '{sotto}:open:*')).toEqual([])
  })
})

describe('a gateway that is killed', () => {
  it('lets go of what it had open, and what was on its way stays spent', { timeout: 60_000 }, async () => {
    const tenant = { concurrent: 2, tokensPerDay: 3_000 }
    const held = Promise.withResolvers<void>()
    const { all, ollama } = await gateways(1, { tenant }, async (call) => {
      await held.promise
      spendAll(call)
    })
    const options = { ollama: ollama.url, tenant, valkey: { url: redis.url } }
    const program = join(import.meta.dirname, '../api/serve-alone.fixture.ts')
    const other = spawn(process.execPath, [program, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    closers.push(() => other.kill('SIGKILL'))
    const [said] = (await once(other.stdout, 'data')) as [Buffer]
    const url = said.toString().trim()
    const lost = [ask(url, 1_000), ask(url, 1_000)].map((one) => one.catch(() => undefined))
    await expect.poll(() => ollama.calls.length).toBe(2)
    const before = await counted('tenant:home')
    expect(before).toBeGreaterThan(2_000)
    expect((await ask(all[0]!.url)).status).toBe(429)
    other.kill('SIGKILL')
    await Promise.all(lost)
    held.resolve()
    await expect.poll(async () => (await ask(all[0]!.url)).status, { timeout: 40_000 }).toBe(200)
    expect(await counted('tenant:home')).toBe(before + 60)
  })
})
