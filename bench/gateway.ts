/**
 * What the gateway costs beside nginx and Portkey's gateway, against one upstream, in one run: each round asks
 * all of them in turn. Ours has its key, limits, budget and audit on; ours and nginx speak TLS, Portkey can't.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { execa, type ResultPromise } from 'execa'
import { z } from 'zod'
import { sotto, startGateway, temporaryDirectory } from '#test/lab/gateway.ts'
import { cpuOf, firstLine, keptBy } from './process.ts'
import { median, met, type Bench } from './report.ts'

const rounds = 5
/**
 * Portkey's gateway from npm, twice: as its makers' image runs it (`Dockerfile`, `package-lock.json` of 1.15.2),
 * and on our Node with the newest of its dependencies that npm chooses, where its streams fail (`Headers`:
 * immutable).
 */
const portkeys = {
  portkey: {
    dependencies: {
      '@portkey-ai/gateway': '1.15.2',
      [`node-${process.platform}-${process.arch}`]: '20.20.2',
    },
    overrides: { hono: '4.9.7', '@hono/node-server': '1.13.5' },
  },
  'portkey-newest': { dependencies: { '@portkey-ai/gateway': '1.15.2' } },
}
const root = join(import.meta.dirname, '..')

interface Target {
  readonly name: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Those whose CPU is its. */
  readonly pids: readonly number[]
}

type Report = Parameters<Bench>[0]

export const gateway: Bench = async (report) => {
  const folder = await temporaryDirectory()
  const started: ResultPromise[] = []
  Object.assign(process.env, {
    SOTTO_BENCH_MEMORY: folder.path,
    NODE_OPTIONS: `--expose-gc --import ${join(import.meta.dirname, 'memory.mjs')}`,
  })
  try {
    const small = await startNginx(folder.path, 'small', smallUpstream)
    started.push(small.process)
    const streaming = execa(process.execPath, [join(import.meta.dirname, 'upstream.ts')], {
      buffer: false,
      reject: false,
    })
    started.push(streaming)
    const streamUrl = `http://127.0.0.1:${await firstLine(streaming)}`
    for (const [kind, upstream] of [
      ['small', small.url],
      ['stream', streamUrl],
      // Anew: what is left of fast streams must not be taken for room of slow ones.
      ['slow', streamUrl],
    ] as const) {
      const targets: Target[] = [{ name: 'direct', url: upstream, headers: {}, pids: [] }]
      const ours = await startOurs(join(folder.path, kind), upstream)
      const proxy = await startNginx(folder.path, `proxy-${kind}`, (port) =>
        proxyConfig(port, upstream, join(folder.path, kind, 'certs')),
      )
      started.push(proxy.process)
      targets.push({
        name: 'nginx',
        url: proxy.url.replace('http:', 'https:'),
        headers: {},
        pids: await family(proxy.process.pid),
      })
      const others = [await startPortkey('portkey', upstream)]
      if (kind === 'small') others.push(await startPortkey('portkey-newest', upstream))
      for (const other of others) {
        started.push(other.process)
        targets.push(other.target)
      }
      targets.push(ours.target)
      if (kind === 'small') await requests(targets, folder.path, report)
      else if (kind === 'stream') await streams(targets, report)
      else await slowStreams(targets, join(folder.path, kind, 'certs'), report)
      for (const other of others) other.process.kill('SIGKILL')
      proxy.process.kill('SIGTERM')
      await ours.stop()
    }
  } finally {
    // Killed hard, nginx would leave its workers.
    for (const child of started) child.kill('SIGTERM')
    await Promise.all(started)
    await folder.remove()
  }
}

/** For a chart: a value of each, ours first. */
function barsOf(targets: readonly Target[]) {
  const names = targets.map(({ name }) => name)
  const ordered = ['sotto', ...names.filter((name) => name !== 'sotto')]
  return (value: (name: string) => number, without?: string): Record<string, number> =>
    Object.fromEntries(ordered.filter((name) => name !== without).map((name) => [name, value(name)]))
}

/** Small answers over connections that stay: added latency, requests per second, CPU. */
async function requests(targets: readonly Target[], folder: string, report: Report): Promise<void> {
  const figures = new Map<string, { p50: number[]; rps: Map<number, number[]>; cpu: Map<number, number[]> }>()
  for (const { name } of targets) figures.set(name, { p50: [], rps: new Map(), cpu: new Map() })
  for (const target of targets) await wrk(target, folder, 16, 2)
  for (let round = 0; round < rounds; round += 1)
    for (const connections of [1, 16, 64])
      for (const target of targets) {
        const seen = await wrk(target, folder, connections, 3)
        const own = figures.get(target.name)
        if (connections === 1) own?.p50.push(seen.p50)
        own?.rps.set(connections, [...(own.rps.get(connections) ?? []), seen.rps])
        own?.cpu.set(connections, [...(own.cpu.get(connections) ?? []), seen.cpu])
      }
  const p50 = (name: string) => median(figures.get(name)?.p50 ?? [])
  const rps = (name: string, at: number) => median(figures.get(name)?.rps.get(at) ?? [])
  const cpu = (name: string, at: number) => median(figures.get(name)?.cpu.get(at) ?? [])
  const beside = (value: (name: string) => string) =>
    targets
      .filter(({ name }) => name !== 'sotto')
      .map(({ name }) => `${name} ${value(name)}`)
      .join(', ')
  const bars = barsOf(targets)
  report({
    what: 'added latency, 1 connection (p50)',
    figure: `${(p50('sotto') - p50('direct')).toFixed(0)} µs`,
    beside: beside((name) => `${(p50(name) - p50('direct')).toFixed(0)} µs`),
    chart: { unit: 'µs', bars: bars((name) => p50(name) - p50('direct')) },
  })
  for (const at of [16, 64]) {
    const times = rps('sotto', at) / rps('portkey', at)
    report({
      what: `requests/s, ${at} connections`,
      figure: rps('sotto', at).toFixed(0),
      beside: beside((name) => rps(name, at).toFixed(0)),
      target: `at least 5× Portkey: ${times.toFixed(1)}× ${met(times >= 5)}`,
      chart: { unit: 'requests/s', bars: bars((name) => rps(name, at)), limit: 5 * rps('portkey', at) },
    })
    const part = cpu('sotto', at) / cpu('portkey', at)
    report({
      what: `CPU per request, ${at} connections`,
      figure: `${cpu('sotto', at).toFixed(0)} µs`,
      beside: `nginx ${cpu('nginx', at).toFixed(0)} µs, portkey ${cpu('portkey', at).toFixed(0)} µs, portkey-newest ${cpu('portkey-newest', at).toFixed(0)} µs`,
      target: `under 0.2 of Portkey: ${part.toFixed(2)} ${met(part < 0.2)}`,
      chart: {
        unit: 'µs of CPU',
        bars: bars((name) => cpu(name, at), 'direct'),
        limit: 0.2 * cpu('portkey', at),
      },
    })
  }
}

/** Streams: time to the first byte, pieces per second as fast as it goes, memory of slow ones. */
async function streams(targets: readonly Target[], report: Report): Promise<void> {
  const rate = new Map<string, number[]>()
  const cpu = new Map<string, number[]>()
  const first = new Map<string, number[]>()
  const add = (map: Map<string, number[]>, name: string, value: number) =>
    map.set(name, [...(map.get(name) ?? []), value])
  for (const target of targets) await readStream(target)
  for (let round = 0; round < rounds; round += 1)
    for (const target of targets) {
      const before = await cpuOf(target.pids)
      const { pieces, ms, firstMs } = await readStream(target)
      add(rate, target.name, pieces / (ms / 1000))
      add(first, target.name, firstMs)
      add(cpu, target.name, ((await cpuOf(target.pids)) - before) / (pieces / 1000))
    }
  const of = (map: Map<string, number[]>, name: string) => median(map.get(name) ?? [])
  const bars = barsOf(targets)
  report({
    what: 'time to first byte of a stream, added',
    figure: `${(of(first, 'sotto') - of(first, 'direct')).toFixed(2)} ms`,
    beside: `nginx ${(of(first, 'nginx') - of(first, 'direct')).toFixed(2)} ms, portkey ${(of(first, 'portkey') - of(first, 'direct')).toFixed(2)} ms`,
  })
  const [toNginx, toPortkey] = [
    of(rate, 'sotto') / of(rate, 'nginx'),
    of(rate, 'sotto') / of(rate, 'portkey'),
  ]
  report({
    what: 'pieces/s of a stream, one write a piece',
    figure: `${(of(rate, 'sotto') / 1000).toFixed(0)}k`,
    beside: targets
      .filter(({ name }) => name !== 'sotto')
      .map(({ name }) => `${name} ${(of(rate, name) / 1000).toFixed(0)}k`)
      .join(', '),
    target: `at least nginx: ${toNginx.toFixed(2)}× ${met(toNginx >= 1)}; 2.5× Portkey: ${toPortkey.toFixed(1)}× ${met(toPortkey >= 2.5)}`,
    chart: { unit: 'pieces/s', bars: bars((name) => of(rate, name)), limit: of(rate, 'nginx') },
  })
  report({
    what: 'CPU per 1,000 pieces',
    figure: `${of(cpu, 'sotto').toFixed(2)} ms`,
    beside: `nginx ${of(cpu, 'nginx').toFixed(2)} ms, portkey ${of(cpu, 'portkey').toFixed(2)} ms`,
    target: `at most 2.5 ms: ${met(of(cpu, 'sotto') <= 2.5)}`,
  })
}

const slow = 500

/** KiB that the process keeps for each of 500 streams that flow. */
async function keptPerStream(target: Target): Promise<number> {
  const open = async (count: number): Promise<() => void> => {
    const agent = agentFor(target, count)
    const streaming = await Promise.all(
      Array.from({ length: count }, () => ask(target, agent, 'slowly').then(flow)),
    )
    await pause(3_000)
    return () => {
      for (const response of streaming) response.destroy()
      agent.destroy()
    }
  }
  // What is compiled and pooled at first is no stream's.
  const warm = await open(50)
  warm()
  await pause(1_500)
  const before = await keptBy(target.pids)
  const close = await open(slow)
  const after = await keptBy(target.pids)
  close()
  await pause(500)
  return (after - before) / slow / 1024
}

/** Ours speaks TLS and Portkey does not, so Node's own TLS server stands beside both. */
async function slowStreams(targets: readonly Target[], certs: string, report: Report): Promise<void> {
  const bare = execa(process.execPath, [join(import.meta.dirname, 'bare.ts'), certs], {
    buffer: false,
    reject: false,
  })
  const url = `https://127.0.0.1:${await firstLine(bare)}`
  const kept = new Map<string, number>()
  for (const target of [...targets, { name: 'bare', url, headers: {}, pids: [bare.pid ?? 0] }])
    if (target.name !== 'direct' && target.name !== 'nginx')
      kept.set(target.name, await keptPerStream(target))
  bare.kill('SIGTERM')
  await bare
  const of = (name: string) => kept.get(name) ?? NaN
  const own = of('sotto') - of('bare')
  report({
    what: 'memory kept per slow stream, 500 opened at once',
    figure: `${of('sotto').toFixed(0)} KiB`,
    beside: `a bare Node https server ${of('bare').toFixed(0)} KiB, portkey (no TLS) ${of('portkey').toFixed(0)} KiB`,
    target: `under 40 KiB: ${met(of('sotto') < 40)}; beyond the bare server ${own.toFixed(0)} KiB: ${met(own < 40)}`,
  })
}

function flow(response: import('node:http').IncomingMessage): Promise<import('node:http').IncomingMessage> {
  return new Promise((settle, fail) => {
    if (response.statusCode !== 200) fail(new Error(`a slow stream was refused with ${response.statusCode}`))
    response.once('data', () => settle(response))
    response.once('error', () => {})
  })
}

async function readStream(target: Target): Promise<{ pieces: number; ms: number; firstMs: number }> {
  const agent = agentFor(target, 1)
  const start = performance.now()
  const response = await ask(target, agent, 'fast')
  let pieces = 0
  let firstMs = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (firstMs === 0) firstMs = performance.now() - start
    for (let at = chunk.indexOf('\n\n'); at !== -1; at = chunk.indexOf('\n\n', at + 2)) pieces += 1
  }
  agent.destroy()
  return { pieces, ms: performance.now() - start - firstMs, firstMs }
}

function ask(
  { url, headers }: Target,
  agent: HttpAgent | HttpsAgent,
  content: string,
): Promise<import('node:http').IncomingMessage> {
  const body = JSON.stringify({ model: 'bench', stream: true, messages: [{ role: 'user', content }] })
  const options = {
    method: 'POST',
    agent,
    rejectUnauthorized: false,
    headers: { 'content-type': 'application/json', 'content-length': body.length, ...headers },
  }
  return new Promise((settle, fail) => {
    const place = `${url}/v1/chat/completions`
    const request = url.startsWith('https')
      ? httpsRequest(place, options, settle)
      : httpRequest(place, options, settle)
    request.once('error', fail)
    request.end(body)
  })
}

function agentFor({ url }: Target, sockets: number): HttpAgent | HttpsAgent {
  return url.startsWith('https')
    ? new HttpsAgent({ maxSockets: sockets })
    : new HttpAgent({ maxSockets: sockets })
}

const chat = JSON.stringify({ model: 'bench', messages: [{ role: 'user', content: 'Say hello, please.' }] })

async function wrk(target: Target, folder: string, connections: number, seconds: number) {
  const script = join(folder, `${target.name}.lua`)
  const headers = Object.entries({ 'Content-Type': 'application/json', ...target.headers })
  await writeFile(
    script,
    `wrk.method = "POST"\nwrk.body = ${JSON.stringify(chat)}\n${headers.map(([name, value]) => `wrk.headers[${JSON.stringify(name)}] = ${JSON.stringify(value)}`).join('\n')}
done = function(summary, latency)
  io.write(string.format("RESULT %d %d %d %d\\n", latency:percentile(50), summary.requests, summary.duration, summary.errors.status + summary.errors.connect + summary.errors.timeout))
end\n`,
    { mode: 0o600 },
  )
  const before = await cpuOf(target.pids)
  const { stdout } = await execa('wrk', [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '-s',
    script,
    `${target.url}/v1/chat/completions`,
  ])
  const spent = (await cpuOf(target.pids)) - before
  const [, p50 = '', count = '', micros = '', errors = ''] =
    /RESULT (\d+) (\d+) (\d+) (\d+)/.exec(stdout) ?? []
  if (Number(errors) > 0) throw new Error(`${target.name} refused ${errors} of ${count} requests`)
  return {
    p50: Number(p50),
    rps: Number(count) / (Number(micros) / 1e6),
    cpu: (spent * 1000) / Number(count),
  }
}

async function startOurs(state: string, upstream: string) {
  await mkdir(state, { recursive: true })
  const config = `${state}.yaml`
  await writeFile(config, `backends: [{ name: bench, url: ${upstream}, parallel: 1024 }]\n`)
  const running = await startGateway(undefined, state, '--loopback', '--port', '0', '--config', config)
  const limits =
    '--requests-per-minute 1000000000 --tokens-per-minute 1000000000000 --concurrent 100000 --tokens-per-day 1000000000000'
  const add = ['key', 'add', 'bench', '--json', '--state', state, ...limits.split(' ')]
  const { stdout } = await sotto(...add)
  const { secret } = z.object({ secret: z.string() }).parse(JSON.parse(stdout))
  await sotto('limit', 'tenant:home', '--state', state, '--tokens-per-month', '100000000000000')
  const target: Target = {
    name: 'sotto',
    url: running.origins.find((origin) => origin.includes('127.0.0.1')) ?? '',
    headers: { Authorization: `Bearer ${secret}` },
    pids: [running.process.pid ?? 0],
  }
  return { target, stop: () => running.stop() }
}

let lastPortkeyPort = 18_787

async function startPortkey(name: keyof typeof portkeys, upstream: string) {
  const place = join(root, '.toolchain', 'bench', name)
  const script = join(place, 'node_modules', '@portkey-ai', 'gateway', 'build', 'start-server.js')
  if (!existsSync(script)) {
    await mkdir(place, { recursive: true })
    await writeFile(join(place, 'package.json'), JSON.stringify(portkeys[name]))
    await execa('npm', ['install', '--no-audit', '--no-fund', '--prefix', place])
  }
  const own = join(place, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
  lastPortkeyPort += 1
  const port = lastPortkeyPort
  const child = execa(existsSync(own) ? own : process.execPath, [script, '--headless', `--port=${port}`], {
    stdio: 'ignore',
    reject: false,
    cwd: place,
  })
  for (let waited = 0; waited < 15_000; waited += 100) {
    if (
      await fetch(`http://127.0.0.1:${port}/`).then(
        () => true,
        () => false,
      )
    )
      break
    await pause(100)
  }
  const target: Target = {
    name,
    url: `http://127.0.0.1:${port}`,
    headers: {
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `${upstream}/v1`,
      Authorization: 'Bearer x',
    },
    pids: [child.pid ?? 0],
  }
  return { target, process: child }
}

const answer = JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'bench',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'Hello! How can I help you today?' },
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 12, completion_tokens: 9, total_tokens: 21 },
})

function smallUpstream(port: number): string {
  const place = (path: string, body: string) =>
    `location = ${path} { default_type application/json; return 200 '${body}'; }`
  return `server { listen 127.0.0.1:${port}; keepalive_requests 100000000;
    ${place('/api/version', '{"version":"0.33.0"}')}
    ${place('/api/tags', '{"models":[{"name":"bench:latest"}]}')}
    ${place('/api/ps', '{"models":[]}')}
    ${place('/v1/chat/completions', answer)} }`
}

function proxyConfig(port: number, upstream: string, certs: string): string {
  return `upstream up { server ${new URL(upstream).host}; keepalive 512; keepalive_requests 100000000; }
  server { listen 127.0.0.1:${port} ssl; keepalive_requests 100000000;
    ssl_certificate ${certs}/leaf.crt; ssl_certificate_key ${certs}/leaf.key;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } }`
}

let lastPort = 18_800

async function startNginx(folder: string, name: string, server: (port: number) => string) {
  lastPort += 1
  const port = lastPort
  const file = join(folder, `${name}.conf`)
  await writeFile(
    file,
    `daemon off; pid ${folder}/${name}.pid; error_log ${folder}/${name}.log; worker_processes 1; user root;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path ${folder}/${name}-body; proxy_temp_path ${folder}/${name}-proxy; ${server(port)} }\n`,
  )
  const child = execa('nginx', ['-c', file, '-p', folder, '-e', `${folder}/${name}.log`], {
    stdio: 'ignore',
    reject: false,
  })
  await pause(500)
  return { url: `http://127.0.0.1:${port}`, process: child }
}

/** A process and its children. */
async function family(pid: number | undefined): Promise<number[]> {
  if (pid === undefined) return []
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim()
  return [pid, ...children.split(' ').filter(Boolean).map(Number)]
}
