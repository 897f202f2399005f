/** Three gateways of one house, on one PostgreSQL and one Valkey, under load while each of these fails. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openLedgerDatabase } from '@sotto/gateway/ledger/database.ts'
import { json, serveOllama } from '@sotto/gateway/engines/upstream.fixture.ts'
import { startRedis, type Redis } from '@sotto/gateway/valkey/redis.fixture.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  copyHouse,
  sotto,
  startGateway,
  temporaryDirectory,
  trust,
  type RunningGateway,
} from './lab/gateway.ts'
import { startPostgres, type Postgres } from './lab/postgres.ts'

const closers: (() => unknown)[] = []
let directory: string
let postgres: Postgres
let redis: Redis
/** Tokens that engines made, and so were spent, whatever became of their answers. */
let made = 0
let ollama: Awaited<ReturnType<typeof serveOllama>>

const promptTokens = 40
/** Tokens of a day, for all of them. */
const budget = 400_000

beforeAll(async () => {
  const folder = await temporaryDirectory()
  directory = folder.path
  closers.push(folder.remove)
  postgres = await startPostgres()
  closers.push(() => postgres.close())
  redis = await startRedis()
  closers.push(() => redis.close())
  ollama = await serveOllama(
    async ({ body, response }) => {
      const { options } = JSON.parse(body.toString()) as { options: { num_predict: number } }
      // All that may be: an estimate that is too low would show.
      made += promptTokens + options.num_predict
      await sleep(20)
      json(response, 200, {
        message: { content: 'x' },
        done: true,
        prompt_eval_count: promptTokens,
        eval_count: options.num_predict,
      })
    },
    { models: [{ name: 'tiny:latest' }] },
  )
  closers.push(ollama.close)
})
afterAll(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const stateOf = (name: string) => join(directory, name)

async function start(name: string): Promise<RunningGateway> {
  return startGateway(undefined, stateOf(name), '--loopback', '--port', '0', '--ollama', ollama.url)
}

interface Answer {
  readonly gateway: string
  /** 0 where none came. */
  readonly status: number
  readonly id: string
  readonly retryAfter: string | null
  readonly text: string
}

async function ask(gateway: string, origin: string, output: number): Promise<Answer> {
  try {
    const answer = await fetch(`${origin}/api/chat`, {
      method: 'POST',
      body: JSON.stringify({
        model: 'tiny',
        stream: false,
        options: { num_predict: output },
        messages: [{ role: 'user', content: 'Hi' }],
      }),
    })
    const text = await answer.text()
    const { status, headers } = answer
    const id = headers.get('x-request-id') ?? ''
    return { gateway, status, id, retryAfter: headers.get('retry-after'), text }
  } catch (error) {
    return { gateway, status: 0, id: '', retryAfter: null, text: String(error) }
  }
}

const countOf = (answers: readonly Answer[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

describe('three gateways on one PostgreSQL and one Valkey', () => {
  it(
    'lose nothing that was accepted and over-grant no budget, while one is killed, Valkey is stopped and PostgreSQL restarted',
    { timeout: 400_000 },
    async () => {
      const first = stateOf('one')
      await mkdir(first, { mode: 0o700 })
      const config = { database: await postgres.create('house'), valkey: redis.url }
      await writeFile(join(first, 'config.yaml'), JSON.stringify(config), { mode: 0o600 })
      const running = new Map<string, RunningGateway>()
      closers.push(() => Promise.all([...running.values()].map((gateway) => gateway.stop())))
      running.set('one', await start('one'))
      await trust(first)
      for (const name of ['two', 'three']) {
        await copyHouse(first, stateOf(name))
        running.set(name, await start(name))
      }
      const limited = await sotto('limit', 'tenant:home', '--tokens-per-day', `${budget}`, '--state', first)
      expect(limited).toMatchObject({ exitCode: 0 })
      const originOf = (name: string) => running.get(name)?.origins[0] ?? ''
      for (const name of running.keys()) {
        await expect
          .poll(async () => (await fetch(`${originOf(name)}/sotto/me`)).json(), { timeout: 20_000 })
          .toMatchObject({ limits: [{ limits: { tokensPerDay: budget } }] })
        await expect
          .poll(async () => (await fetch(`${originOf(name)}/health`)).json(), { timeout: 20_000 })
          .toMatchObject({ valkey: 'ready', neighbours: 2 })
      }
      const status = await sotto('status', '--state', first)
      expect(status.stdout).toMatch(/Valkey +ready.*\nNeighbours 2 other gateways/)

      const answers: Answer[] = []
      const over = new AbortController()
      const work = async (name: string, at: number): Promise<void> => {
        for (let round = at; !over.signal.aborted; round += 1) {
          const answer = await ask(name, originOf(name), 5 + ((round * 7) % 60))
          answers.push(answer)
          // As its Retry-After would have it, but sooner.
          await sleep(answer.status === 200 ? 60 : 200)
        }
      }
      const workers = [...running.keys()].flatMap((name) =>
        Array.from({ length: 4 }, (_, at) => work(name, at)),
      )
      /** What comes of each gateway from now on. */
      const since = (from: number, name: string) =>
        answers.slice(from).filter(({ gateway }) => gateway === name)
      const serves = (name: string, from: number) =>
        expect
          .poll(() => since(from, name).filter((one) => one.status === 200).length, { timeout: 60_000 })
          .toBeGreaterThan(10)
      const phases: Record<string, Record<string, number>> = {}
      const phase = async (what: string, task: () => Promise<void>): Promise<void> => {
        const from = answers.length
        await task()
        phases[what] = countOf(answers.slice(from))
      }
      await phase('all well', async () => {
        await Promise.all([...running.keys()].map((name) => serves(name, 0)))
      })
      expect(Object.keys(phases['all well'] ?? {})).toEqual(['200'])

      await phase('one killed', async () => {
        const from = answers.length
        running.get('three')?.process.kill('SIGKILL')
        await running.get('three')?.process.catch(() => {})
        await serves('one', from)
        await serves('two', from)
        await expect
          .poll(async () => (await fetch(`${originOf('one')}/health`)).json(), { timeout: 30_000 })
          .toMatchObject({ neighbours: 1 })
      })
      const killed = answers.length
      await phase('Valkey stopped for ten seconds', async () => {
        const from = answers.length
        redis.kill('SIGSTOP')
        await sleep(10_000)
        redis.kill('SIGCONT')
        expect(countOf(since(from, 'one'))[503] ?? 0).toBeGreaterThan(0)
        const back = answers.length
        await serves('one', back)
        await serves('two', back)
      })
      await phase('PostgreSQL restarted', async () => {
        await postgres.stop()
        await sleep(3_000)
        await postgres.start()
        const back = answers.length
        await serves('one', back)
        await serves('two', back)
      })
      await phase('the third again', async () => {
        running.set('three', await start('three'))
        await serves('three', answers.length)
      })
      over.abort()
      await Promise.all(workers)

      // Then all that is left, at once, and more than that.
      await phase('the rest of the budget', async () => {
        for (let round = 0; round < 200; round += 1) {
          const batch = await Promise.all(
            [...running.keys()].flatMap((name) =>
              Array.from({ length: 8 }, () => ask(name, originOf(name), 1_500)),
            ),
          )
          answers.push(...batch)
          if (batch.every((one) => one.status === 429)) break
        }
      })
      const last = await ask('one', originOf('one'), 1_500)
      expect([last.status, last.text]).toEqual([429, expect.stringContaining('today’s budget')])

      // Refusals say what they are, and when to come again.
      const refused = answers.filter((one) => one.status !== 200 && one.status !== 0)
      expect(new Set(refused.map((one) => one.status)).difference(new Set([429, 503]))).toEqual(new Set())
      for (const one of refused)
        if (one.status === 503) expect(Number(one.retryAfter), one.text).toBeGreaterThan(0)
      // Nobody hung up but the one that was killed.
      expect(answers.filter((one) => one.status === 0 && one.gateway !== 'three')).toEqual([])

      for (const gateway of running.values()) await gateway.stop()
      running.clear()
      const ledger = await openLedgerDatabase(join(first, 'ledger.db'))
      const rows = await ledger.selectFrom('audit').select('request_id').execute()
      const spending = await ledger.selectFrom('spending').selectAll().execute()
      await ledger.destroy()
      const written = new Set(rows.map((row) => row.request_id))
      const accepted = answers.filter((one) => one.status === 200)
      const lost = accepted.filter((one) => !written.has(one.id))
      // A row may take 100 ms to the disk, and the one that was killed had no time left.
      const ofKilled = lost.filter((one) => one.gateway === 'three' && answers.indexOf(one) < killed)
      const taken = spending
        .filter((row) => row.window.startsWith('day:'))
        .reduce((sum, row) => sum + row.used + row.held, 0)
      const counts = {
        accepted: accepted.length,
        lost: lost.length - ofKilled.length,
        'rows of the last 100 ms of the killed one': ofKilled.length,
        budget,
        made,
        'spent, as written': taken,
        ...phases,
      }
      process.stdout.write(`${JSON.stringify(counts, undefined, 2)}\n`)
      expect(counts.lost).toBe(0)
      expect(made).toBeLessThanOrEqual(budget)
      expect(taken).toBeLessThanOrEqual(budget)
      expect(taken).toBeGreaterThanOrEqual(made)
      expect(made).toBeGreaterThan(0.9 * budget)
      for (const name of ['one', 'two', 'three'])
        expect(await readFile(join(stateOf(name), 'gateway.log'), 'utf8')).not.toContain('uncaught')
    },
  )
})
