/**
 * A crowd that holds sockets and does nothing with them: sessions of voice, connections that asked once in a while,
 * and some that never say a word. It prints how many it holds and whether it is all, a line of JSON a second; a line
 * of stdin ends it, as people leave.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { parseArgs } from 'node:util'
import { WebSocket } from 'ws'

const { values } = parseArgs({
  options: {
    origin: { type: 'string', default: '' },
    ca: { type: 'string', default: '' },
    /** Addresses of this machine, with commas. */
    from: { type: 'string', default: '' },
    sessions: { type: 'string', default: '' },
    asking: { type: 'string', default: '' },
    silent: { type: 'string', default: '' },
  },
})
const { origin } = values
const { hostname: host, port } = new URL(origin)
const ca = readFileSync(values.ca)
const from = values.from.split(',')
/** Handshakes that are under way: each is work for both sides. */
const atOnce = 32
/** Sooner than an HTTP server gives up a connection that asks no more. */
const askEveryMs = 3_000

const held = { sessions: 0, asking: 0, silent: 0 }
const ends: (() => void)[] = []
const hold = (kind: keyof typeof held, end: () => void): void => {
  held[kind] += 1
  ends.push(end)
}
/** All but the first handshake are short. */
let session: Buffer | undefined
const tls = (localAddress: string) => ({ host, port: Number(port), ca, localAddress, session })
const remember = (socket: TLSSocket): void => {
  socket.once('session', (made) => (session ??= made))
}

async function openSession(localAddress: string): Promise<void> {
  const socket = new WebSocket(`${origin.replace('https', 'wss')}/v1/realtime`, ['realtime'], {
    ...tls(localAddress),
    perMessageDeflate: false,
  })
  socket.on('error', () => {})
  await new Promise((settle, fail) => {
    socket.once('message', settle)
    socket.once('close', () => fail(new Error('not let in')))
  })
  hold('sessions', () => socket.close(1000))
  socket.once('close', () => (held.sessions -= 1))
}

async function openAsking(localAddress: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ...tls(localAddress) })
  const ask = (): Promise<boolean> =>
    new Promise((settle) => {
      request(`${origin}/healthz`, { agent, headers: { host: `${host}:${port}` } }, (answer) =>
        answer.resume().once('end', () => settle(answer.statusCode === 200)),
      )
        .once('error', () => settle(false))
        .end()
    })
  if (!(await ask())) throw new Error('not answered')
  const asked = setInterval(() => {
    void ask().then((answered) => {
      if (answered) return
      held.asking -= 1
      clearInterval(asked)
    })
  }, askEveryMs)
  hold('asking', () => {
    clearInterval(asked)
    agent.destroy()
  })
}

async function openSilent(localAddress: string): Promise<void> {
  const socket = connect(tls(localAddress))
  remember(socket)
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  hold('silent', () => socket.destroy())
  socket.once('close', () => (held.silent -= 1))
}

async function openAll(count: number, open: (localAddress: string) => Promise<void>): Promise<void> {
  let at = 0
  const work = async (): Promise<void> => {
    while (at < count) {
      at += 1
      const localAddress = from[at % from.length] ?? ''
      const opened = () =>
        open(localAddress).then(
          () => true,
          () => false,
        )
      // On a slow machine a handshake may take longer than it is given.
      while (!(await opened())) await pause(100)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

let all = false
const told = setInterval(() => process.stdout.write(`${JSON.stringify({ ...held, all })}\n`), 1_000)
await openSilent(from[0] ?? '')
await openAll(Number(values.sessions), openSession)
await openAll(Number(values.asking), openAsking)
await openAll(Number(values.silent) - 1, openSilent)
all = true
await once(createInterface(process.stdin), 'line')
clearInterval(told)
for (const end of ends) end()
