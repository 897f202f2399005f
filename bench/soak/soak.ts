/**
 * `pnpm soak [20m]`: a real gateway in use for as long as told. Programs chat, people talk, machines lend and an admin
 * looks; what it keeps in memory, how late its event loop is and what went wrong is written down all the while. It
 * ends with a report, and with an error where memory grew or anything failed.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { cpus, release } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { readDuration } from '@sotto/provisioning/commands/arguments.ts'
import { execa, type ResultPromise } from 'execa'
import { z } from 'zod'
import { sotto, startGateway, startStandIn, temporaryDirectory } from '#test/lab/gateway.ts'
import { cpuOf, lookAt } from '../process.ts'
import { startEngines, type Engines } from '../talk/engines.ts'
import { speakAll } from '../talk/recordings.ts'
import { judge, writeSoak, type Sample } from './report.ts'
import { startTalkers } from './talkers.ts'
import { told, type Wish } from './wish.ts'

const root = join(import.meta.dirname, '..', '..')
const sampleEveryMs = 5_000
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
/** Of the first answers: until all is there that will be asked. */
const settleMs = 3_000

const [, , wanted = '20m'] = process.argv
const forMs = readDuration(wanted)
const folder = await temporaryDirectory()
const started: ResultPromise[] = []
Object.assign(process.env, { SOTTO_BENCH_MEMORY: folder.path, SOTTO_BENCH_DELAY: '1' })
const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Linux ${release()}, Node ${process.version}`
process.stderr.write(`${machine}\n`)
try {
  const { samples, answered, errors } = await soak()
  const verdict = judge(samples, errors)
  const path = await writeSoak(join(root, 'bench-output'), {
    machine,
    wanted,
    samples,
    answered,
    errors,
    verdict,
  })
  process.stdout.write(`${verdict.lines.join('\n')}\n`)
  process.stderr.write(`${path}\n`)
  if (!verdict.flat) process.exitCode = 1
} finally {
  for (const child of started) child.kill('SIGTERM')
  await Promise.all(started)
  await folder.remove()
}

async function soak() {
  const recordings = await speakAll(folder.path)
  const engines = await startEngines(started)
  const models = await startStandIn(undefined, 'ollama')
  const ours = await startOurs(engines, models.url)
  const answered: Record<string, number> = {}
  const errors: string[] = []
  const begun = Date.now()
  const minutes = (): number => (Date.now() - begun) / 60_000
  const count = (kind: string, more = 1): void => {
    answered[kind] = (answered[kind] ?? 0) + more
  }
  const fail = (error: string): void => {
    process.stderr.write(`${minutes().toFixed(1)} min: ${error}\n`)
    errors.push(`${minutes().toFixed(1)} min: ${error}`)
  }
  const load = startLoad(ours.wish, count, fail)
  const talkers = startTalkers({ ...ours.way, recordings }, count, fail)
  const samples: Sample[] = []
  await pause(settleMs)
  await lookAt(ours.pid)
  let before = { answers: total(answered), cpu: await cpuOf([ours.pid]), at: Date.now() }
  while (Date.now() - begun < forMs) {
    await pause(sampleEveryMs)
    // They keep what they were asked until they are asked for it.
    for (const url of Object.values(engines)) await fetch(`${url}/moments`)
    const { rss, heap, code, external, open, late } = await lookAt(ours.pid)
    const after = { answers: total(answered), cpu: await cpuOf([ours.pid]), at: Date.now() }
    const seconds = (after.at - before.at) / 1_000
    const sample = {
      minutes: minutes(),
      rss,
      heap,
      code,
      external,
      open,
      late: late ?? { p50: 0, p99: 0, most: 0 },
      perSecond: (after.answers - before.answers) / seconds,
      cpu: (after.cpu - before.cpu) / 1_000 / seconds,
      errors: errors.length,
    }
    before = after
    samples.push(sample)
    process.stderr.write(`${inShort(sample)}\n`)
  }
  await talkers.stop()
  await load.stop()
  await ours.stop()
  await models.stop()
  return { samples, answered, errors }
}

async function startOurs({ whisper, ollama, speech }: Engines, models: string) {
  const state = join(folder.path, 'state')
  await mkdir(state)
  const config = join(folder.path, 'config.yaml')
  await writeFile(
    config,
    `backends:
  - { name: talk, url: ${ollama}, parallel: 64 }
  - { name: models, url: ${models}, parallel: 64 }
whisper: { url: ${whisper}, parallel: 8 }
speech: { engine: openai, url: ${speech} }
`,
  )
  const options = process.env.NODE_OPTIONS ?? ''
  // As launch.mjs and the service's unit start it.
  process.env.MALLOC_ARENA_MAX = '2'
  process.env.NODE_OPTIONS = `${options} --expose-gc --import ${join(root, 'bench', 'memory.mjs')}`
  const running = await startGateway(undefined, state, '--loopback', '--port', '0', '--config', config)
  process.env.NODE_OPTIONS = options
  delete process.env.MALLOC_ARENA_MAX
  const origin = running.origins.find((one) => one.includes('127.0.0.1')) ?? ''
  const ca = join(state, 'certs', 'root.crt')
  await sotto('limit', 'tenant:home', '--state', state, '--tokens-per-month', '100000000000000')
  const { key, secret } = await addKey(state)
  const lent = `--name rig --parallel 64 --ollama ${models} --service engine=${speech}/*`.split(' ')
  const lender = execa(
    process.execPath,
    [join(root, 'sotto.ts'), 'lend', '--json', '--to', origin, '--ca', ca, ...lent],
    { stdin: 'ignore', reject: false, buffer: false, env: { SOTTO_KEY: secret } },
  )
  started.push(lender)
  await new Promise<void>((settle, fail) => {
    lender.stdout.on('data', (lines: Buffer) => {
      if (lines.includes('"connected"')) settle()
    })
    void lender.then(() => fail(new Error('the lender has ended')))
  })
  const wish: Wish = { origin, ca, lendKey: secret, lent: `/users/${key.person}/rig`, ollama: models }
  return {
    wish,
    way: { url: `${origin.replace('https:', 'wss:')}/v1/realtime`, ca },
    pid: running.process.pid ?? 0,
    stop: () => running.stop(),
  }
}

async function addKey(state: string) {
  const { stdout } = await sotto(
    'key',
    'add',
    'rig',
    '--services',
    'lend,chat,embeddings,engine',
    '--state',
    state,
    '--json',
  )
  return z.object({ secret: z.string(), key: z.object({ person: z.string() }) }).parse(JSON.parse(stdout))
}

type Count = (kind: string, more?: number) => void

function startLoad(wish: Wish, count: Count, fail: (error: string) => void) {
  const child = execa(process.execPath, [join(import.meta.dirname, 'load.ts'), JSON.stringify(wish)], {
    buffer: false,
    reject: false,
    stderr: 'inherit',
  })
  started.push(child)
  let stopped = false
  const reading = (async () => {
    for await (const line of child.iterable()) {
      const { answered, errors } = told.parse(JSON.parse(line))
      for (const [kind, more] of Object.entries(answered)) count(kind, more)
      if (!stopped) for (const error of errors) fail(error)
    }
    if (!stopped) fail('the load has ended')
  })()
  return {
    async stop() {
      stopped = true
      child.kill('SIGKILL')
      await reading.catch(() => {})
    },
  }
}

function total(answered: Readonly<Record<string, number>>): number {
  return Object.values(answered).reduce((sum, one) => sum + one, 0)
}

function inShort({ minutes, rss, heap, code, external, open, late, perSecond, cpu, errors }: Sample): string {
  return `${minutes.toFixed(1)} min: RSS ${mib(rss)}, heap ${mib(heap)}, code ${mib(code)}, external ${mib(external)}, ${open} open, loop late ${late.p50.toFixed(1)}/${late.p99.toFixed(1)}/${late.most.toFixed(0)} ms, ${perSecond.toFixed(0)}/s, ${cpu.toFixed(2)} cores, ${errors} errors`
}
