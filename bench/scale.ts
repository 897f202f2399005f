/**
 * What a second and a third gateway add, on one PostgreSQL and one Valkey: each request has limits and a budget that
 * hold across all of them. By the CPU time that a request takes of the gateways that are asked, since all of them
 * share this machine's cores: what each adds is what it would on a machine of its own.
 */
import { createServer } from 'node:http'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startRedis } from '@sotto/gateway/valkey/redis.fixture.ts'
import { copyHouse, sotto, startGateway, temporaryDirectory } from '#test/lab/gateway.ts'
import { startPostgres } from '#test/lab/postgres.ts'
import { createClient, type Ask } from './client.ts'
import { cpuOf } from './process.ts'
import { median, met, type Bench } from './report.ts'

const rounds = 3
/** To each gateway. */
const requests = 2_000
const atOnce = 16
const names = ['one', 'two', 'three'] as const
const wanted = 0.8

const question = JSON.stringify({
  model: 'bench',
  stream: false,
  options: { num_predict: 20 },
  messages: [{ role: 'user', content: 'Hi' }],
})
const answer = JSON.stringify({
  model: 'bench:latest',
  created_at: '2026-01-01T00:00:00Z',
  message: { role: 'assistant', content: 'x' },
  done: true,
  prompt_eval_count: 10,
  eval_count: 1,
})

export const scale: Bench = async (report) => {
  const closers: (() => unknown)[] = []
  try {
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    const postgres = await startPostgres()
    closers.push(() => postgres.close())
    const redis = await startRedis()
    closers.push(() => redis.close())
    const ollama = await startOllama()
    closers.push(ollama.close)
    const first = join(folder.path, names[0])
    await mkdir(first, { mode: 0o700 })
    const config = { database: await postgres.create('house'), valkey: redis.url }
    await writeFile(join(first, 'config.yaml'), JSON.stringify(config), { mode: 0o600 })
    const gateways: { readonly ask: Ask; readonly pid: number }[] = []
    for (const name of names) {
      const state = join(folder.path, name)
      if (state !== first) await copyHouse(first, state)
      const options = ['--loopback', '--port', '0', '--ollama', ollama.url]
      const gateway = await startGateway(undefined, state, ...options)
      closers.push(() => gateway.stop())
      if (state === first) {
        const limits = ['--requests-per-minute', '100000000', '--tokens-per-day', '100000000000']
        await sotto('limit', 'tenant:home', '--state', first, ...limits)
      }
      gateways.push({ ask: createClient(gateway.origins[0] ?? ''), pid: gateway.process.pid ?? 0 })
    }
    const perRequest: number[][] = names.map(() => [])
    for (let round = 0; round <= rounds; round += 1)
      for (const [at, all] of perRequest.entries()) {
        const asked = gateways.slice(0, at + 1)
        const pids = asked.map(({ pid }) => pid)
        const before = await cpuOf(pids)
        await Promise.all(asked.map(({ ask }) => load(ask)))
        const cpu = ((await cpuOf(pids)) - before) / (requests * asked.length)
        // The first round warms up.
        if (round > 0) all.push(cpu)
      }
    const [alone = NaN, ...more] = perRequest.map(median)
    report({
      what: 'CPU of a request with limits and a budget, one gateway',
      figure: `${(alone * 1_000).toFixed(0)} µs`,
    })
    // Of the throughput of the first alone.
    const reached = [1, ...more.map((cpu, at) => ((at + 2) * alone) / cpu)]
    for (const [at, cpu] of more.entries()) {
      const added = (reached[at + 1] ?? NaN) - (reached[at] ?? NaN)
      report({
        what: `throughput that the ${at === 0 ? 'second' : 'third'} gateway adds, by CPU time`,
        figure: `${added.toFixed(2)}× the first`,
        beside: `${(cpu * 1_000).toFixed(0)} µs a request, one alone ${(alone * 1_000).toFixed(0)} µs`,
        target: `at least ${wanted}×: ${met(added >= wanted)}`,
        chart: {
          unit: '× the first alone',
          bars: Object.fromEntries(
            reached.slice(0, at + 2).map((times, index) => [`${index + 1}`, times] as const),
          ),
          limit: (reached[at] ?? NaN) + wanted,
        },
      })
    }
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

async function load(ask: Ask): Promise<void> {
  let left = requests
  const work = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      const { status } = await ask('/api/chat', question)
      if (status !== 200) throw new Error(`a gateway answered ${status}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

/** It answers at once. */
async function startOllama() {
  const told: Readonly<Record<string, string>> = {
    '/api/version': '{"version":"0.33.0"}',
    '/api/tags': '{"models":[{"name":"bench:latest"}]}',
    '/api/ps': '{"models":[{"name":"bench:latest"}]}',
    '/api/show': '{}',
  }
  const server = createServer((asked, response) => {
    asked.resume()
    asked.once('end', () => {
      response.setHeader('content-type', 'application/json')
      response.end(told[asked.url ?? ''] ?? answer)
    })
  })
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}
