import { Anthropic } from '@anthropic-ai/sdk'
import { OpenAI } from 'openai'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { serveApi, type ServeOptions } from '#api/serve.fixture.ts'
import { json, left, ndjson, serveOllama, type Call } from '#engines/upstream.fixture.ts'
import { startRedis, type Redis } from '#valkey/redis.fixture.ts'

/** Where limits are counted; undefined for the gateway itself. */
let redis: Redis | undefined
const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  vi.useRealTimers()
  for (const close of closers.splice(0).toReversed()) await close()
  await redis?.ask('FLUSHALL')
})

const used = (input: number, output: number) => ({ prompt_eval_count: input, eval_count: output })
const answered = ({ response }: Call) =>
  json(response, 200, {
    message: { content: 'Hi' },
    done: true,
    ...used(5, 3),
    usage: { prompt_tokens: 5, completion_tokens: 3 },
  })

async function open(options: ServeOptions, answer: (call: Call) => unknown = answered) {
  const ollama = await serveOllama(answer, { models: [{ name: 'tiny:latest' }, { name: 'big:latest' }] })
  const api = await serveApi({ ollama: ollama.url, valkey: redis && { url: redis.url }, ...options })
  closers.push(ollama.close, api.close)
  const ask = (body: object = {}, path = '/api/chat', headers: Record<string, string> = {}) =>
    fetch(`${api.url}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify({
        model: 'tiny',
        stream: false,
        messages: [{ role: 'user', content: 'Hi' }],
        ...body,
      }),
    })
  return { ...api, ollama, ask }
}

describe.each(['the gateway itself', 'Valkey'])('counted by %s:', (where) => {
  beforeAll(async () => {
    redis = where === 'Valkey' ? await startRedis() : undefined
  })
  afterAll(() => redis?.close())

  describe('scopes', () => {
    it('hold a key to its services and models, and what it may not use is not there', async () => {
      const { ask, secrets, url } = await open({ keys: { small: { services: ['chat'], models: ['tiny*'] } } })
      const headers = { 'x-api-key': secrets.small ?? '' }
      expect((await ask({}, '/api/chat', headers)).status).toBe(200)
      const big = await ask({ model: 'big' }, '/v1/chat/completions', headers)
      expect([big.status, await big.json()]).toMatchObject([
        404,
        { error: { code: 'model_not_found', param: 'model' } },
      ])
      const embed = await ask({ input: 'x' }, '/api/embed', headers)
      expect([embed.status, await embed.text()]).toEqual([403, expect.stringContaining('embeddings')])
      const { models } = (await (await fetch(`${url}/api/tags`, { headers })).json()) as {
        models: { name: string }[]
      }
      expect(models.map(({ name }) => name)).toEqual(['tiny:latest'])
      expect((await fetch(`${url}/v1/models/big`, { headers })).status).toBe(404)
    })

    it('of a tenant hold all that it owns', async () => {
      const { ask, secrets } = await open({ tenant: { models: ['big'] }, keys: { any: {} } })
      expect((await ask({}, '/api/chat', { 'x-api-key': secrets.any ?? '' })).status).toBe(404)
      expect((await ask({ model: 'big' })).status).toBe(200)
    })
  })

  describe('rates', () => {
    it('hold nobody for longer than their minute where the clock is set back by a day', async () => {
      const { ask } = await open({ tenant: { requestsPerMinute: 1 } })
      expect((await ask()).status).toBe(200)
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 86_400_000 })
      const refused = await ask()
      expect(refused.status).toBe(429)
      expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(60)
      expect(await refused.text()).not.toMatch(/864\d\d/)
    })

    it('tell what is left, and when they are over: 429, in the words of each dialect, when to come again', async () => {
      const { ask } = await open({ tenant: { requestsPerMinute: 2 } })
      const first = await ask()
      expect(Object.fromEntries(first.headers)).toMatchObject({
        'x-ratelimit-limit-requests': '2',
        'x-ratelimit-remaining-requests': '1',
        'x-ratelimit-reset-requests': expect.stringMatching(/^\d+s$/),
        'x-request-id': expect.stringMatching(/^req_/),
      })
      await ask()
      const shapes = {
        '/api/chat': { error: expect.stringContaining('2 requests') },
        '/v1/chat/completions': { error: { type: 'rate_limit_error', code: 'rate_limit_exceeded' } },
        '/v1/messages': {
          type: 'error',
          error: { type: 'rate_limit_error' },
          request_id: expect.stringMatching(/^req_/),
        },
      }
      for (const [path, shape] of Object.entries(shapes)) {
        const refused = await ask({ max_tokens: 5 }, path)
        expect([refused.status, await refused.json()], path).toMatchObject([429, shape])
        expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
      }
    })

    it('of tokens take what may come, and give back what did not', async () => {
      const { ask } = await open({ tenant: { tokensPerMinute: 300 } })
      for (let round = 0; round < 10; round += 1) {
        const answer = await ask({ options: { num_predict: 200 } })
        expect(answer.status, `round ${round}`).toBe(200)
        expect(Number(answer.headers.get('x-ratelimit-remaining-tokens'))).toBeLessThan(100)
      }
      const refused = await ask({ options: { num_predict: 300 } })
      expect([refused.status, await refused.text()]).toEqual([429, expect.stringContaining('shorter')])
    })

    it('hold to as many at once, and let go when one ends', async () => {
      const held = Promise.withResolvers<void>()
      const { ask, ollama } = await open({ tenant: { concurrent: 2 } }, async (call) => {
        await held.promise
        answered(call)
      })
      const two = [ask(), ask()]
      await expect.poll(() => ollama.calls.length).toBe(2)
      expect((await ask()).status).toBe(429)
      held.resolve()
      expect((await Promise.all(two)).map(({ status }) => status)).toEqual([200, 200])
      expect((await ask()).status).toBe(200)
    })

    it('apply to every path that makes tokens: bifrost #2873, litellm #17706, litellm #11083', async () => {
      const { ask } = await open({ tenant: { requestsPerMinute: 0 } })
      for (const path of [
        '/api/chat',
        '/api/generate',
        '/api/embed',
        '/api/embeddings',
        '/chat/api/chat',
        '/chat/api/generate',
        '/v1/chat/completions',
        '/v1/completions',
        '/v1/responses',
        '/v1/embeddings',
        '/v1/messages',
      ])
        expect((await ask({ max_tokens: 5, prompt: 'x', input: 'x' }, path)).status, path).toBe(429)
    })
  })

  describe('budgets', () => {
    it('are not overspent by a token by 200 requests at once: litellm #34732, litellm #40095', async () => {
      // Each answer takes all that it may.
      const { ask, rows } = await open(
        { tenant: { tokensPerDay: 5_000 }, parallel: 256 },
        ({ body, response }) => {
          const { options } = JSON.parse(body.toString())
          json(response, 200, { message: { content: 'x' }, done: true, ...used(40, options.num_predict) })
        },
      )
      const answers = await Promise.all(
        Array.from({ length: 200 }, (_, at) => ask({ options: { num_predict: 20 + (at % 7) * 13 } })),
      )
      const statuses = answers.map(({ status }) => status)
      expect(new Set(statuses)).toEqual(new Set([200, 429]))
      const [day] = await rows('spending')
      expect(day).toMatchObject({ subject: 'tenant:home', held: 0 })
      const { used: spent } = day as { used: number }
      expect(spent).toBeLessThanOrEqual(5_000)
      expect(spent).toBeGreaterThan(2_000)
      const audit = await rows('audit')
      const written = audit.reduce(
        (sum, row) => sum + Number(row.input_tokens) + Number(row.output_tokens),
        0,
      )
      expect(written).toBe(spent)
    })

    it('are held to across a key and its tenant, the tightest first', async () => {
      const { ask, secrets, rows } = await open({
        tenant: { tokensInTotal: 1_000_000 },
        keys: { small: { tokensPerMonth: 200 } },
      })
      const headers = { 'x-api-key': secrets.small ?? '' }
      expect((await ask({ options: { num_predict: 20 } }, '/api/chat', headers)).status).toBe(200)
      expect((await ask({}, '/v1/chat/completions', headers)).status).toBe(200)
      expect((await ask({ max_tokens: 500 }, '/v1/chat/completions', headers)).status).toBe(429)
      expect(await rows('spending')).toMatchObject([
        { subject: 'key:small', used: 16 },
        { subject: 'tenant:home', used: 16, window: 'total' },
      ])
    })

    it('that are spent are not tried again by clients: x-should-retry is false', async () => {
      const { url, ollama } = await open({ tenant: { tokensPerDay: 10 } })
      const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none' })
      const refused = await openai.chat.completions
        .create({ model: 'tiny', messages: [{ role: 'user', content: 'x' }], max_tokens: 5 })
        .catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(OpenAI.RateLimitError)
      expect(refused).toMatchObject({
        code: 'insufficient_quota',
        message: expect.stringContaining('today’s budget'),
      })
      const anthropic = new Anthropic({ baseURL: url, apiKey: 'none' })
      await expect(
        anthropic.messages.create({
          model: 'tiny',
          max_tokens: 5,
          messages: [{ role: 'user', content: 'x' }],
        }),
      ).rejects.toBeInstanceOf(Anthropic.RateLimitError)
      expect(ollama.calls).toEqual([])
    })

    it('limit an answer that was asked for without one, to what is left', async () => {
      const { ask, ollama } = await open({ tenant: { tokensPerDay: 200 } })
      const bytes = JSON.stringify({
        model: 'tiny',
        stream: false,
        messages: [{ role: 'user', content: 'Hi' }],
      }).length
      expect((await ask()).status).toBe(200)
      expect(JSON.parse(ollama.calls[0]?.body.toString() ?? '').options).toEqual({ num_predict: 200 - bytes })
    })

    it('count what a stream took that was cut short by its client: litellm #14457, bifrost #4518', async () => {
      const gone = Promise.withResolvers<void>()
      const { url, rows } = await open({ tenant: { tokensPerDay: 100_000 } }, ({ response }) => {
        void left(response).then(gone.resolve)
        const line = ndjson(response)
        for (let piece = 0; piece < 7; piece += 1) line({ message: { content: 'on ' }, done: false })
      })
      const abort = new AbortController()
      const answer = await fetch(`${url}/api/chat`, {
        method: 'POST',
        signal: abort.signal,
        body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'Count on.' }] }),
      })
      const reader = answer.body!.getReader()
      let got = ''
      while (got.split('\n').length < 8) got += Buffer.from((await reader.read()).value ?? []).toString()
      abort.abort()
      await gone.promise
      await expect.poll(async () => (await rows('audit')).length).toBe(1)
      const [row] = await rows('audit')
      expect(row).toMatchObject({ ended: 'left', output_tokens: 7, counted: 'counted' })
      const input = Number(row?.input_tokens)
      expect(input).toBeGreaterThan(0)
      expect(await rows('spending')).toMatchObject([{ used: input + 7, held: 0 }])
    })

    it('never trip for want of usage in a stream: it is asked for upstream, and kept from who did not', async () => {
      const event = (body: object) => `data: ${JSON.stringify(body)}\n\n`
      const { ask, ollama, rows } = await open({ tenant: { tokensPerDay: 100_000 } }, ({ response }) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(event({ choices: [{ delta: { content: 'Hi' } }] }))
        response.write(event({ choices: [], usage: { prompt_tokens: 21, completion_tokens: 4 } }))
        response.end('data: [DONE]\n\n')
      })
      const without = await (await ask({ stream: true }, '/v1/chat/completions')).text()
      expect(without).toBe(`${event({ choices: [{ delta: { content: 'Hi' } }] })}data: [DONE]\n\n`)
      expect(JSON.parse(ollama.calls[0]?.body.toString() ?? '')).toMatchObject({
        stream_options: { include_usage: true },
      })
      const asked = { stream: true, stream_options: { include_usage: true } }
      expect(await (await ask(asked, '/v1/chat/completions')).text()).toContain('"prompt_tokens":21')
      expect(await rows('spending')).toMatchObject([{ used: 50, held: 0 }])
    })

    it('outlive a crash: what was on its way counts as spent', async () => {
      const held = Promise.withResolvers<void>()
      const first = await open({ id: 'one', tenant: { tokensPerDay: 1_000 } }, async (call) => {
        await held.promise
        answered(call)
      })
      const asked = first.ask({ options: { num_predict: 300 } })
      await expect.poll(() => first.ollama.calls.length).toBe(1)
      // What is on disk at this moment is all that a crash leaves.
      const [row] = await first.rows('spending')
      const reserved = Number(row?.used) + Number(row?.held)
      expect(reserved).toBeGreaterThanOrEqual(300)
      const { cp, mkdtemp, rm } = await import('node:fs/promises')
      const { tmpdir } = await import('node:os')
      const { join } = await import('node:path')
      const copy = await mkdtemp(join(tmpdir(), 'sotto-crash-'))
      for (const suffix of ['', '-wal', '-shm'])
        await cp(`${first.ledger}${suffix}`, join(copy, `ledger.db${suffix}`)).catch(() => {})
      held.resolve()
      expect((await asked).status).toBe(200)
      // One gateway at a time has its name.
      const [close] = closers.splice(-1)
      await close?.()
      const second = await open({
        id: 'one',
        tenant: { tokensPerDay: 1_000 },
        ledger: join(copy, 'ledger.db'),
      })
      expect((await second.ask({ options: { num_predict: 950 - reserved } })).status).toBe(429)
      expect(await second.rows('spending')).toMatchObject([{ used: reserved, held: 0 }])
      expect((await second.ask({ options: { num_predict: 10 } })).status).toBe(200)
      closers.push(() => rm(copy, { recursive: true }))
    })

    it('fail closed where what is spent can’t be written down', async () => {
      const { createBudgets } = await import('./budgets.ts')
      const { unlimited } = await import('@sotto/provisioning/registry/allowance.ts')
      const budgets = createBudgets({ spend: () => Promise.reject(new Error('disk full')), note() {} })
      const held = [{ ...unlimited, subject: 'tenant:home', label: 'tenant', tokensPerDay: 100 }]
      await expect(budgets.reserve(held, 10, 10)).rejects.toMatchObject({ code: 'unavailable' })
    })
  })
})
