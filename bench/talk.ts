/**
 * What the gateway itself adds to a conversation: engines answer at once, so all that is left is its own share.
 * A real gateway with TLS and its real model for voice activity; engines, talkers and gateway are processes of
 * their own, which share this machine's cores. Beside it stands Pipecat, alone, with the same engines.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa, type ResultPromise } from 'execa'
import { sotto, startGateway, temporaryDirectory } from '#test/lab/gateway.ts'
import { cpuOf, firstLine, lookAt } from './process.ts'
import { median, met, type Bench } from './report.ts'
import { startEngines, type Engines } from './talk/engines.ts'
import { speakAll } from './talk/recordings.ts'
import { moments, seen, type Wish } from './talk/seen.ts'

const rounds = Number(process.env.SOTTO_BENCH_ROUNDS ?? 3)
const many = Number(process.env.SOTTO_BENCH_SESSIONS ?? 100)

type Report = Parameters<Bench>[0]
type Scenario = Pick<Wish, 'protocol' | 'sessions' | 'turns' | 'silenceMs' | 'interrupts'>

/**
 * With 200 ms of silence a turn ends just when its words are first asked for, and nothing is done ahead; with
 * 500 ms, which is the default, both Whisper and the model are asked meanwhile.
 */
const scenarios = {
  alone: { protocol: 'ours', sessions: 1, turns: 8, silenceMs: 200, interrupts: false },
  ahead: { protocol: 'ours', sessions: 1, turns: 8, silenceMs: 500, interrupts: false },
  openai: { protocol: 'openai', sessions: 1, turns: 8, silenceMs: 200, interrupts: false },
  interrupting: { protocol: 'ours', sessions: 1, turns: 6, silenceMs: 500, interrupts: true },
  many: { protocol: 'ours', sessions: many, turns: 5, silenceMs: 200, interrupts: false },
  manyAhead: { protocol: 'ours', sessions: many, turns: 5, silenceMs: 500, interrupts: false },
  manyInterrupting: { protocol: 'ours', sessions: many, turns: 4, silenceMs: 500, interrupts: true },
} as const satisfies Record<string, Scenario>

const names = ['alone', 'ahead', 'openai', 'interrupting', 'many', 'manyAhead', 'manyInterrupting'] as const
type Name = (typeof names)[number] | 'peer' | 'bare'

/** Our own share of a turn, ms, and how long its sum was. */
interface Share {
  readonly toWhisper: number
  readonly toOllama: number
  readonly toSpeech: number
  readonly toClient: number
  readonly total: number
  /** From the end of the silence alone: what was done ahead does not count. */
  readonly afterEnd: number
  /** The model hears speech a little longer than it is. */
  readonly notNoticed: number
}

interface Result {
  readonly shares: readonly Share[]
  readonly interruptions: readonly number[]
  readonly turns: number
  readonly failures: readonly string[]
  readonly cpuPerSecond: number
  /** Cores of the machine that were busy meanwhile, with whatever. */
  readonly busy: number
  readonly late: { readonly p50: number; readonly p99: number; readonly most: number } | undefined
  readonly talkersLate: number
}

export const talk: Bench = async (report) => {
  const folder = await temporaryDirectory()
  const started: ResultPromise[] = []
  Object.assign(process.env, { SOTTO_BENCH_MEMORY: folder.path, SOTTO_BENCH_DELAY: '1' })
  try {
    const recordings = await speakAll(folder.path)
    const engines = await startEngines(started)
    const wish = (scenario: Scenario): Wish => ({ ...scenario, url: '', recordings })
    const results = new Map<Name, Result[]>()
    const ours = await startOurs(join(folder.path, 'state'), engines)
    const add = (name: Name, result: Result): void => {
      process.stderr.write(`${inShort(name, result)}\n`)
      results.set(name, [...(results.get(name) ?? []), result])
    }
    const bare = join(import.meta.dirname, 'talk', 'bare.ts')
    for (let round = 0; round < rounds; round += 1)
      for (const name of names) {
        if (only(name)) add(name, await run({ ...wish(scenarios[name]), ...ours.way }, engines, ours.pid))
        if (name !== 'alone') continue
        const turns = scenarios.alone.turns.toString()
        if (only('bare'))
          add(
            'bare',
            await watch([bare, engines.whisper, engines.ollama, engines.speech, turns], engines, undefined),
          )
        // Even with nobody there it is busy, so it is there for its own rounds alone.
        const peer = only('peer') ? await startPeer(engines, started) : undefined
        if (peer) add('peer', await run({ ...wish(scenarios.alone), ...peer.way }, engines, 0))
        await peer?.stop()
      }
    await ours.stop()
    // What was left out by wish has no row.
    table(results, (row) => (row.figure.includes('NaN') ? undefined : report(row)))
    await memory(folder.path, engines, wish(scenarios.manyAhead), report)
  } finally {
    for (const child of started) child.kill('SIGTERM')
    await Promise.all(started)
    await folder.remove()
  }
}

/** While this bench is worked on: some of it alone, by name. */
const only = (name: string): boolean => (process.env.SOTTO_BENCH_ONLY ?? name).split(',').includes(name)

async function startOurs(state: string, { whisper, ollama, speech }: Engines) {
  await mkdir(state, { recursive: true })
  const config = `${state}.yaml`
  await writeFile(
    config,
    `backends: [{ name: bench, url: ${ollama}, parallel: 64 }]
whisper: { url: ${whisper}, parallel: 8 }
speech: { engine: openai, url: ${speech} }
`,
  )
  const options = process.env.NODE_OPTIONS
  process.env.NODE_OPTIONS = `--expose-gc --import ${join(import.meta.dirname, 'memory.mjs')} ${process.env.SOTTO_BENCH_PROFILE ?? ''}`
  const running = await startGateway(undefined, state, '--loopback', '--port', '0', '--config', config)
  process.env.NODE_OPTIONS = options ?? ''
  await sotto('limit', 'tenant:home', '--state', state, '--tokens-per-month', '100000000000000')
  const origin = running.origins.find((one) => one.includes('127.0.0.1')) ?? ''
  return {
    way: {
      url: `${origin.replace('https:', 'wss:')}/v1/realtime`,
      ca: join(state, 'certs', 'root.crt'),
    },
    pid: running.process.pid ?? 0,
    stop: () => running.stop(),
  }
}

const pipecat = 'pipecat-ai[openai,silero,websocket]==1.14.0'

/** Undefined where this machine has no Python, or no way to its packages. */
async function startPeer(engines: Engines, started: ResultPromise[]) {
  const place = join(tmpdir(), 'sotto-bench-pipecat-1.14.0')
  const python = join(place, 'bin', 'python')
  const file = join(import.meta.dirname, 'talk', 'peer.py')
  const quietly = { reject: false, all: true } as const
  const { failed } = await execa(python, ['-c', 'import pipecat.audio.vad.silero'], quietly)
  if (failed) {
    process.stderr.write('Pipecat is fetched…\n')
    const made = await execa('python3', ['-m', 'venv', place], quietly)
    const got = made.failed
      ? made
      : await execa(python, ['-m', 'pip', 'install', '--quiet', pipecat], quietly)
    if (got.failed) {
      process.stderr.write(`Pipecat can’t be had here: ${got.all?.slice(-500) ?? ''}\n`)
      return undefined
    }
  }
  const { whisper, ollama, speech } = engines
  const child = execa(python, [file, whisper, ollama, speech], { buffer: false, reject: false })
  started.push(child)
  return {
    way: {
      url: `ws://127.0.0.1:${await firstLine(child)}`,
      protocol: 'samples' as const,
      listener: [python, file, 'pauses'],
    },
    async stop(): Promise<void> {
      child.kill('SIGKILL')
      await child
    },
  }
}

/** Lets them talk, and finds in what all of them took down where the time went. */
function run(wish: Wish, engines: Engines, pid: number, during?: () => Promise<void>): Promise<Result> {
  const file = join(import.meta.dirname, 'talk', 'talkers.ts')
  return watch([file, JSON.stringify(wish)], engines, wish.protocol === 'samples' ? undefined : pid, during)
}

/** @param pid of the gateway, where there is one */
async function watch(
  program: readonly string[],
  engines: Engines,
  pid: number | undefined,
  during = async () => {},
): Promise<Result> {
  for (const url of Object.values(engines)) await fetch(`${url}/moments`)
  const child = execa(process.execPath, program, { buffer: false, stderr: 'inherit' })
  const lines = child.iterable()[Symbol.asyncIterator]()
  await lines.next()
  // What was slow while they connected is no matter of theirs.
  if (pid !== undefined) await lookAt(pid)
  const pids = pid === undefined ? [] : [pid]
  const before = await cpuOf(pids)
  const machine = cpuTimes()
  await during()
  const { value } = await lines.next()
  const cpu = (await cpuOf(pids)) - before
  const { busy, idle } = cpuTimes()
  const all = busy + idle - machine.busy - machine.idle
  const late = pid === undefined ? undefined : (await lookAt(pid)).late
  await child
  const told = seen.parse(JSON.parse(String(value)))
  const ask = async (url: string) => moments.parse(await (await fetch(`${url}/moments`)).json())
  const [whisper, ollama, speech] = [
    await ask(engines.whisper),
    await ask(engines.ollama),
    await ask(engines.speech),
  ]
  const shares = told.sessions.flatMap(({ turns, sounds }) =>
    turns.flatMap(({ spoken, paused, ended }, index) => {
      const next = turns[index + 1]?.ended ?? Infinity
      const sound = sounds.find(({ at }) => at > ended && at < next)
      const name = sound && (sound.turn || speech.findLast(({ answered }) => answered < sound.at)?.turn)
      const of = (moment: typeof whisper) => moment.find(({ turn }) => turn === name)
      const [heard, written, said] = [of(whisper), of(ollama), of(speech)]
      if (!sound || !heard || !written || !said) return []
      const toWhisper = heard.asked - paused
      const toOllama = written.asked - heard.answered
      const toSpeech = said.asked - Math.max(written.answered, ended)
      const toClient = sound.at - said.answered
      return {
        toWhisper,
        toOllama,
        toSpeech,
        toClient,
        total: toWhisper + toOllama + toSpeech + toClient,
        afterEnd: toSpeech + toClient,
        notNoticed: paused - spoken - 200,
      }
    }),
  )
  const interruptions = told.sessions.flatMap(({ turns, hushes }) =>
    turns.flatMap(({ sustained }) => {
      const hush = sustained === undefined ? undefined : hushes.find((at) => at > sustained)
      return sustained === undefined || hush === undefined || hush - sustained > 2_000 ? [] : hush - sustained
    }),
  )
  return {
    shares,
    interruptions,
    turns: sum(told.sessions.map(({ turns }) => turns.length)),
    failures: told.sessions.flatMap((one) => one.failures),
    cpuPerSecond: cpu / told.talkedSeconds,
    busy: ((busy - machine.busy) / all) * cpus().length,
    late,
    talkersLate: told.delayP99,
  }
}

function inShort(name: string, result: Result): string {
  const totals = result.shares.map(({ total }) => total)
  return `${name}: ${totals.length} of ${result.turns} turns, total ${spread(totals)}, ${result.interruptions.length} interruptions ${spread(result.interruptions)}, CPU ${result.cpuPerSecond.toFixed(1)}, loop ${JSON.stringify(result.late)}, talkers ${result.talkersLate.toFixed(1)} ${result.failures.slice(0, 3).join(' ')}`
}

const parts = [
  ['toWhisper', 'pause full → request at Whisper'],
  ['toOllama', 'Whisper’s answer → request at Ollama'],
  ['toSpeech', 'first clause (and the end of the turn) → request at speech'],
  ['toClient', 'first sound of speech → first sound at the client'],
] as const

function table(results: ReadonlyMap<Name, Result[]>, report: Report): void {
  const all = (name: Name) => results.get(name) ?? []
  const values = (name: Name, part: keyof Share) =>
    all(name).flatMap(({ shares }) => shares.map((one) => one[part]))
  const row = (name: Name, part: keyof Share) => spread(values(name, part))
  const beside = (part: keyof Share, labels: readonly (readonly [Name, string])[]) =>
    labels
      .filter(([name]) => results.has(name))
      .map(([name, label]) => `${label} ${row(name, part)}`)
      .join('; ')
  const others = [
    ['openai', 'OpenAI’s protocol'],
    ['bare', 'a bare Node program, without a client'],
    ['peer', 'Pipecat 1.14.0'],
  ] as const
  for (const [part, what] of parts)
    report({ what: `alone: ${what}`, figure: row('alone', part), beside: beside(part, others) })
  const alone = percentile(values('alone', 'total'), 50)
  report({
    what: 'alone: our share of a turn, all four',
    figure: `${row('alone', 'total')} (${rangeOf(all('alone'), 'total', 50)})`,
    beside: beside('total', others),
    target: `at most 5 ms p50: ${met(alone <= 5)}`,
    chart: {
      unit: 'ms, p50',
      bars: Object.fromEntries(
        [['alone', 'Sotto'] as const, ...others]
          .filter(([name]) => results.has(name))
          .map(([name, label]) => [label, percentile(values(name, 'total'), 50)]),
      ),
      limit: 5,
    },
  })
  const ahead = percentile(values('ahead', 'total'), 50)
  report({
    what: 'alone, words and answer begun at the first 200 ms of 500 ms of silence: all four',
    figure: `${row('ahead', 'total')} (${rangeOf(all('ahead'), 'total', 50)})`,
    beside: parts.map(([part, what]) => `${what} ${row('ahead', part)}`).join('; '),
    target: `at most 5 ms p50: ${met(ahead <= 5)}`,
  })
  report({
    what: 'alone: 500 ms of silence full → first sound at the client, without the engine’s part',
    figure: row('ahead', 'afterEnd'),
  })
  for (const [name, what] of [
    ['many', 'each turn ended by 200 ms of silence'],
    ['manyAhead', 'by 500 ms, begun at 200 ms'],
  ] as const) {
    for (const [part, label] of parts)
      report({ what: `${many} sessions: ${label}`, figure: row(name, part), beside: what })
    const worst = percentile(values(name, 'total'), 99)
    report({
      what: `${many} sessions, ${what}: all four`,
      figure: `${row(name, 'total')} (p99 ${rangeOf(all(name), 'total', 99)})`,
      beside: `${values(name, 'total').length} of ${sum(all(name).map(({ turns }) => turns))} turns`,
      target: `at most 25 ms p99: ${met(worst <= 25)}`,
    })
  }
  for (const [name, what] of [
    ['interrupting', 'alone'],
    ['manyInterrupting', `${many} sessions`],
  ] as const) {
    const took = all(name).flatMap(({ interruptions }) => interruptions)
    const worst = percentile(took, 99)
    report({
      what: `${what}: 320 ms of speech over an answer → \`x.hush\``,
      figure: spread(took),
      beside: `${took.length} interruptions`,
      target: `at most 52 ms: ${met(worst <= 52)}`,
    })
  }
  for (const [name, what] of [
    ['ahead', 'alone'],
    ['manyAhead', `${many} sessions`],
  ] as const) {
    const one = all(name)
    report({
      what: `${what}: CPU of the gateway per second of talk, each session`,
      figure: `${median(one.map(({ cpuPerSecond }) => cpuPerSecond)).toFixed(1)} ms`,
      beside: `event loop late by ${median(one.map(({ late }) => late?.p99 ?? NaN)).toFixed(1)} ms p99, talkers’ own by ${median(one.map(({ talkersLate }) => talkersLate)).toFixed(1)} ms; ${median(one.map(({ busy }) => busy)).toFixed(1)} of ${cpus().length} cores busy, with all that ran here`,
    })
  }
  report({
    what: 'speech’s own end → 200 ms of silence as the model counts them, beyond those 200 ms',
    figure: row('alone', 'notNoticed'),
    beside: beside('notNoticed', [['peer', 'Pipecat']]),
  })
  const failures = [...results].flatMap(([name, rounded]) =>
    rounded.flatMap((one) => one.failures.map((why) => `${name}: ${why}`)),
  )
  if (failures.length > 0)
    report({ what: 'failures', figure: String(failures.length), beside: failures.slice(0, 3).join(' ') })
}

/** Of the rounds, each by itself: how far they lie apart. */
function rangeOf(all: readonly Result[], part: keyof Share, percent: number): string {
  const each = all.map(({ shares }) =>
    percentile(
      shares.map((one) => one[part]),
      percent,
    ),
  )
  return `${Math.min(...each).toFixed(1)} to ${Math.max(...each).toFixed(1)} by round`
}

async function memory(folder: string, engines: Engines, wish: Wish, report: Report): Promise<void> {
  const fresh = await startOurs(join(folder, 'fresh'), engines)
  // What is compiled and pooled at first is no session's.
  await run({ ...wish, ...fresh.way, sessions: 5, turns: 2 }, engines, fresh.pid)
  const before = await lookAt(fresh.pid)
  let after = before
  await run({ ...wish, ...fresh.way, turns: 3 }, engines, fresh.pid, async () => {
    await new Promise((settle) => setTimeout(settle, 6_000))
    after = await lookAt(fresh.pid)
  })
  await fresh.stop()
  const each = (bytes: number): string => `${(bytes / wish.sessions / 1024).toFixed(0)} KiB`
  report({
    what: `memory of each of ${wish.sessions} sessions that talk, in a fresh gateway`,
    figure: each(after.kept - before.kept),
    beside: `with what V8 has room for: ${each(after.rss - before.rss)}`,
  })
}

/** Of all cores since the machine began, ms. */
function cpuTimes(): { readonly busy: number; readonly idle: number } {
  const times = cpus().map((one) => one.times)
  return {
    busy: sum(times.map(({ user, nice, sys, irq }) => user + nice + sys + irq)),
    idle: sum(times.map(({ idle }) => idle)),
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((all, one) => all + one, 0)
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? NaN
}

function spread(values: readonly number[]): string {
  const last =
    values.length < 100
      ? `most ${percentile(values, 100).toFixed(1)}`
      : `p99 ${percentile(values, 99).toFixed(1)}`
  return `p50 ${percentile(values, 50).toFixed(1)}, ${last} ms`
}
