/**
 * What it costs that a friend's gateway answers: two gateways of this machine, of which one joined the other. The same
 * client asks the one that has the model, and the one that has it as `model@friend`, in turn.
 */
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { sotto, startGateway, type RunningGateway } from '#test/lab/gateway.ts'
import { createClient, paired, ratioOf } from './client.ts'
import { median, met, type Bench } from './report.ts'

const rounds = 3
/** One takes a tenth of a second, in which much else may happen. */
const answers = 5
const smallRequests = 200
const model = 'bench:latest'

/**
 * @param upstream address of the models
 * @param pieces of an answer
 */
export function friends(directory: string, upstream: string, pieces: number): Bench {
  return async (report) => {
    const start = (name: string, ...options: string[]) =>
      startGateway(undefined, join(directory, name), '--loopback', '--port', '0', ...options)
    const ada = await start('ada', '--ollama', upstream)
    const bob = await start('bob', '--ollama', 'http://127.0.0.1:9')
    try {
      await befriend(ada, bob)
      const rates = await measure(ada, bob, pieces)
      report({
        what: 'pieces of an answer of model@friend',
        figure: `${median(rates.chat.tunnel).toFixed(0)}/s`,
        beside: `its own gateway ${median(rates.chat.direct).toFixed(0)}/s`,
        target: `at least 0.5× direct: ${ratioOf(rates.chat).toFixed(2)}× ${met(ratioOf(rates.chat) >= 0.5)}`,
        chart: {
          unit: 'pieces/s',
          bars: { 'model@friend': median(rates.chat.tunnel), 'its own gateway': median(rates.chat.direct) },
          limit: median(rates.chat.direct) / 2,
        },
      })
      const [direct, far] = [median(rates.first.direct), median(rates.first.tunnel)]
      report({
        what: 'first byte (p50), added by a friend’s gateway',
        figure: `${(far - direct).toFixed(2)} ms`,
        beside: `its own gateway ${direct.toFixed(2)} ms, model@friend ${far.toFixed(2)} ms`,
        target: `at most 2 ms: ${met(far - direct <= 2)}`,
      })
    } finally {
      await Promise.all([ada.stop(), bob.stop()])
    }
  }
}

async function befriend(ada: RunningGateway, bob: RunningGateway): Promise<void> {
  const made = await sotto('federation', 'invite', 'bob', '--state', ada.state, '--json')
  const { code } = JSON.parse(made.stdout)
  const program = resolve(import.meta.dirname, '..', 'sotto.ts')
  const to = (ada.origins[0] ?? '').replace('https', 'wss')
  await execa(
    process.execPath,
    [program, 'federation', 'join', to, '--name', 'ada', '--state', bob.state, '--json'],
    { input: code },
  )
  await sotto('federation', 'grant', 'bob', '*', '--state', ada.state)
}

async function measure(ada: RunningGateway, bob: RunningGateway, pieces: number) {
  const ways = [
    { way: 'direct', ask: createClient(ada.origins[0] ?? ''), name: model },
    { way: 'tunnel', ask: createClient(bob.origins[0] ?? ''), name: `${model}@ada` },
  ] as const
  const rates = { chat: paired(), first: paired() }
  for (let round = 0; round <= rounds; round += 1)
    for (const { way, ask, name } of ways) {
      const small = () => ask('/v1/embeddings', JSON.stringify({ model: name, input: 'x' }))
      // Friends are there as soon as their tunnels are.
      while ((await small()).status !== 200) await new Promise((settle) => setTimeout(settle, 50))
      const talks: number[] = []
      for (let count = 0; count < answers; count += 1)
        talks.push((await ask('/v1/chat/completions', question(name))).ms)
      const firsts: number[] = []
      for (let count = 0; count < smallRequests; count += 1) firsts.push((await small()).firstByteMs)
      // The first round warms up.
      if (round === 0) continue
      rates.chat[way].push(pieces / (median(talks) / 1000))
      rates.first[way].push(median(firsts))
    }
  return rates
}

function question(name: string): string {
  return JSON.stringify({ model: name, stream: true, messages: [{ role: 'user', content: 'go' }] })
}
