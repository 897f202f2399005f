/**
 * What a lender's tunnel costs: one gateway asks the same upstream directly and through a lender of this machine,
 * in turn. The client is this process, over HTTP with TLS, for both.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa, type ResultPromise } from 'execa'
import { sotto, startGateway, temporaryDirectory } from '#test/lab/gateway.ts'
import { createClient, paired, ratioOf, type Ask } from './client.ts'
import { cpuOf, firstLine } from './process.ts'
import { friends } from './reach-friends.ts'
import { median, met, type Bench } from './report.ts'

const rounds = 3
/** Of the upstream's pieces of some 200 bytes, each a write of its own. */
const pieces = 30_000
const megabytes = 100
const smallRequests = 100

/** A service that gives bytes as fast as they are taken, and small answers. */
const service = `
const piece = Buffer.alloc(65536, 120)
require('http').createServer((request, response) => {
  request.resume()
  if (request.url !== '/big') return response.end('{}')
  let left = ${Math.ceil((megabytes * 1e6) / 65_536)}
  const go = () => {
    while (left-- > 0) if (!response.write(piece)) return response.once('drain', go)
    response.end()
  }
  go()
}).listen(0, '127.0.0.1', function () { console.log(this.address().port) })
`

export const reach: Bench = async (report) => {
  const folder = await temporaryDirectory()
  const started: ResultPromise[] = []
  try {
    const start = (...args: readonly string[]): ResultPromise => {
      const child = execa(process.execPath, args, { buffer: false, reject: false })
      started.push(child)
      return child
    }
    const models = `http://127.0.0.1:${await firstLine(start(join(import.meta.dirname, 'upstream.ts'), String(pieces)))}`
    const bytes = `http://127.0.0.1:${await firstLine(start('-e', service))}`
    const config = join(folder.path, 'config.yaml')
    await writeFile(
      config,
      `backends: [{ name: own, url: "${models}" }]\nservices: [{ name: bytes, upstream: "${bytes}", paths: [/big, /small] }]\n`,
    )
    const state = join(folder.path, 'state')
    const gateway = await startGateway(undefined, state, '--loopback', '--port', '0', '--config', config)
    const [origin = ''] = gateway.origins
    const made = JSON.parse(
      (await sotto('key', 'add', 'rig', '--services', 'lend,chat,bytes', '--state', state, '--json')).stdout,
    )
    const ca = join(state, 'certs', 'root.crt')
    const lender = execa(
      process.execPath,
      [
        join(import.meta.dirname, '..', 'sotto.ts'),
        'lend',
        '--json',
        '--to',
        origin,
        '--ca',
        ca,
        '--name',
        'rig',
        '--parallel',
        '64',
        '--ollama',
        models,
        '--service',
        `bytes=${bytes}/*`,
      ],
      { buffer: false, reject: false, env: { SOTTO_KEY: made.secret } },
    )
    started.push(lender)
    const ask = createClient(origin, made.secret)
    const lent = `/users/${made.key.person}/rig`
    while ((await ask(`${lent}/services/bytes/small`)).status !== 200) await once(lender.stdout, 'data')
    const pids = { gateway: Number(gateway.process.pid), lender: Number(lender.pid) }
    await measure(report, ask, lent, pids)
    await gateway.stop()
    await friends(folder.path, models, pieces)(report)
  } finally {
    for (const child of started) child.kill('SIGTERM')
    await Promise.all(started)
    await folder.remove()
  }
}

async function measure(
  report: Parameters<Bench>[0],
  ask: Ask,
  lent: string,
  pids: { readonly gateway: number; readonly lender: number },
): Promise<void> {
  const stream = JSON.stringify({ model: 'bench', stream: true, messages: [{ role: 'user', content: 'go' }] })
  const big = { direct: '/services/bytes/big', tunnel: `${lent}/services/bytes/big` }
  const small = { direct: '/services/bytes/small', tunnel: `${lent}/services/bytes/small` }
  // The pool would choose for itself; by the lender's name it is the lender's.
  const chat = { direct: '/v1/chat/completions', tunnel: `${lent}/v1/chat/completions` }
  const rate = { big: paired(), chat: paired(), first: paired(), cpu: paired() }
  for (let round = 0; round <= rounds; round += 1)
    for (const way of ['direct', 'tunnel'] as const) {
      const cpu = await cpuOf([pids.gateway, pids.lender])
      const bulk = await ask(big[way])
      const used = (await cpuOf([pids.gateway, pids.lender])) - cpu
      const talk = await ask(chat[way], stream)
      const firsts: number[] = []
      for (let count = 0; count < smallRequests; count += 1) firsts.push((await ask(small[way])).firstByteMs)
      // The first round warms up.
      if (round === 0) continue
      rate.big[way].push(bulk.bytes / 1e3 / bulk.ms)
      rate.cpu[way].push(used / (bulk.bytes / 1e8))
      rate.chat[way].push(pieces / (talk.ms / 1000))
      rate.first[way].push(median(firsts))
    }
  report({
    what: 'bytes through a tunnel',
    figure: `${median(rate.big.tunnel).toFixed(0)} MB/s`,
    beside: `direct ${median(rate.big.direct).toFixed(0)} MB/s`,
    target: `at least 0.5× direct: ${ratioOf(rate.big).toFixed(2)}× ${met(ratioOf(rate.big) >= 0.5)}`,
    chart: {
      unit: 'MB/s',
      bars: { tunnel: median(rate.big.tunnel), direct: median(rate.big.direct) },
      limit: median(rate.big.direct) / 2,
    },
  })
  report({
    what: 'pieces of an answer through a tunnel',
    figure: `${median(rate.chat.tunnel).toFixed(0)}/s`,
    beside: `direct ${median(rate.chat.direct).toFixed(0)}/s`,
    target: `at least 0.5× direct: ${ratioOf(rate.chat).toFixed(2)}× ${met(ratioOf(rate.chat) >= 0.5)}`,
  })
  const added = median(rate.first.tunnel) - median(rate.first.direct)
  report({
    what: 'first byte (p50), added by a tunnel',
    figure: `${added.toFixed(2)} ms`,
    beside: `direct ${median(rate.first.direct).toFixed(2)} ms, tunnel ${median(rate.first.tunnel).toFixed(2)} ms`,
    target: `at most 2 ms: ${met(added <= 2)}`,
  })
  report({
    what: 'CPU of gateway and lender for 100 MB',
    figure: `${median(rate.cpu.tunnel).toFixed(0)} ms`,
    beside: `direct ${median(rate.cpu.direct).toFixed(0)} ms`,
  })
}
