/** Ten thousand sockets that do nothing, and everything at once that takes a server's time or memory, beside one who asks. */
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { ResultPromise } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sotto, startGateway, startStandIn, temporaryDirectory, type RunningGateway } from './lab/gateway.ts'
import { createLab, type Lab } from './lab/lab.ts'

/** One address holds 2,048. */
const devices = 5
const crowd = { sessions: 9_100, asking: 600, silent: 400 }
const all = crowd.sessions + crowd.asking + crowd.silent
/** Of those that ask, a few may just be connecting anew. */
const least = 10_000
const kib = 1024
/** Of an idle socket with all that is kept of it: a TLS session has some 50 KiB in OpenSSL and Node. */
const mostPerSocket = 256 * kib
/** Whatever floods: as many unread bytes as each of its sessions may have, and room for what is under way. */
const mostOfFlood = 512 * kib * kib

describe('beside ten thousand idle sockets and a flood', () => {
  let lab: Lab
  let gateway: RunningGateway
  let origin: string
  let pid: number
  const closers: (() => unknown)[] = []

  const addDevice = async (name: string): Promise<string> => {
    const { stdout } = await sotto('device', 'add', name, '--state', gateway.state, '--json')
    const { address4 } = JSON.parse(stdout).device
    // As if it came through the tunnel: from the device's address, which the machine itself has.
    await lab.hub.run('ip', 'address', 'add', `${address4}/32`, 'dev', 'lo')
    return address4
  }
  const start = (name: string, ...more: string[]) => {
    const file = join(import.meta.dirname, 'stand-ins', `${name}.ts`)
    const ca = join(gateway.state, 'certs', 'root.crt')
    const child = lab.hub.start(process.execPath, [file, '--origin', origin, '--ca', ca, ...more], {
      buffer: false,
      stderr: 'inherit',
    })
    closers.push(async () => {
      child.kill('SIGKILL')
      await child
    })
    return { child, last: lastLineOf(child) }
  }
  const rss = async (): Promise<number> =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) * kib
  const descriptors = async (): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length
  const curl = (from: string, path: string, ...more: string[]) =>
    lab.hub.run(
      ...(['curl', '-sS', '--max-time', '60', '--interface', from, '--cacert'] as const),
      join(gateway.state, 'certs', 'root.crt'),
      ...more,
      `${origin}${path}`,
    )
  /** Sockets and sessions, as `/metrics` has them. */
  const open = async (from: string) => {
    const { stdout } = await curl(from, '/metrics')
    const of = (name: string) => Number(new RegExp(`^sotto_open_${name} (\\d+)$`, 'm').exec(stdout)?.[1])
    return { sockets: of('sockets'), sessions: of('sessions') }
  }

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(() => ollama.stop())
    gateway = await startGateway(
      lab.hub,
      join(folder.path, 'state'),
      '--endpoint',
      lab.hub.address4,
      '--ollama',
      ollama.url,
    )
    closers.push(() => gateway.stop())
    origin = gateway.origins.find((one) => !one.includes('[')) ?? ''
    // `ip netns exec` becomes what it runs.
    pid = gateway.process.pid ?? 0
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it(
    'one who asks is served, memory is bounded, and nothing of them stays',
    { timeout: 900_000 },
    async () => {
      const addresses: string[] = []
      for (let at = 0; at < devices; at += 1) addresses.push(await addDevice(`crowd${at}`))
      const [flooder, good] = [await addDevice('flooder'), await addDevice('good')]

      const served = { answers: 0, refused: [] as string[] }
      const stop = new AbortController()
      const asking = (async () => {
        const body = JSON.stringify({
          model: 'stand-in',
          messages: [{ role: 'user', content: 'Hello there.' }],
        })
        while (!stop.signal.aborted) {
          const { stdout, stderr } = await curl(good, '/api/chat', '--data', body)
          if (stdout.includes('"done":true')) served.answers += 1
          else served.refused.push(stdout + stderr)
          await pause(200)
        }
      })()
      closers.push(() => stop.abort())

      // What is compiled at first is no socket's.
      await expect.poll(() => served.answers, { timeout: 60_000 }).toBeGreaterThan(5)
      const before = { rss: await rss(), descriptors: await descriptors(), open: await open(good) }
      const held = start(
        'crowd',
        '--from',
        addresses.join(','),
        ...Object.entries(crowd).flatMap(([kind, count]) => [`--${kind}`, String(count)]),
      )
      await expect.poll(() => held.last().all, { timeout: 600_000, interval: 200 }).toBe(true)
      const crowded = { rss: await rss(), open: await open(good), answers: served.answers }
      const perSocket = (crowded.rss - before.rss) / all
      say(
        `${all} idle sockets: ${JSON.stringify(held.last())}, at the gateway ${JSON.stringify(crowded.open)}`,
        `RSS ${mib(before.rss)} → ${mib(crowded.rss)}, ${(perSocket / kib).toFixed(0)} KiB a socket; ${crowded.answers} answers meanwhile`,
      )
      expect(crowded.open.sockets).toBeGreaterThanOrEqual(least)
      expect(crowded.open.sessions).toBe(crowd.sessions)
      expect(perSocket).toBeLessThan(mostPerSocket)

      const flood = start('flood', '--from', flooder)
      let most = 0
      const kinds = ['deaf event', 'slow head', 'slow body', 'huge head', 'bomb']
      const came = (kind: string): number =>
        Object.entries(flood.last()).reduce(
          (sum, [what, count]) => sum + (what.startsWith(kind) ? Number(count) : 0),
          0,
        )
      const from = served.answers
      await expect
        .poll(
          async () => {
            most = Math.max(most, await rss())
            return served.answers > from + 20 && kinds.every((kind) => came(kind) >= 100)
          },
          { timeout: 400_000, interval: 250 },
        )
        .toBe(true)
      say(
        `flooded: ${JSON.stringify(flood.last())}`,
        `RSS ${mib(most)} at most; ${served.answers - from} answers meanwhile`,
      )
      expect(most - crowded.rss).toBeLessThan(mostOfFlood)
      const odd = Object.keys(flood.last()).filter((what) => /^(?:huge head|bomb) (?!4|cut)/.test(what))
      expect(odd).toEqual([])

      flood.child.kill('SIGKILL')
      held.child.stdin?.write('\n')
      const gone = async (): Promise<boolean> => {
        const { sockets, sessions } = await open(good)
        return sockets <= before.open.sockets + 2 && sessions === 0
      }
      await expect.poll(gone, { timeout: 300_000, interval: 500 }).toBe(true)
      await expect.poll(descriptors, { timeout: 60_000 }).toBeLessThanOrEqual(before.descriptors + 20)
      stop.abort()
      await asking
      say(
        `afterwards: ${JSON.stringify(await open(good))}, ${before.descriptors} → ${await descriptors()} descriptors, RSS ${mib(await rss())}`,
        `${served.answers} answers to the one beside them, ${served.refused.length} refused`,
      )
      expect(served.refused).toEqual([])
    },
  )
})

function lastLineOf(child: ResultPromise): () => Record<string, unknown> {
  let text = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (text + chunk.toString()).split('\n')
    text = lines.slice(-2).join('\n')
  })
  return () => JSON.parse(text.split('\n').at(-2) ?? '{}')
}

function say(...lines: string[]): void {
  for (const line of lines) process.stdout.write(`${line}\n`)
}

const mib = (bytes: number): string => `${(bytes / kib / kib).toFixed(0)} MiB`
