/**
 * Everything at once that takes the time or the memory of a server: sockets that send and never read, requests whose
 * heads and bodies never end, heads without measure, and bodies that are packed. It prints what became of it, a line
 * of JSON a second, until it is ended.
 */
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { WebSocket } from 'ws'

const { values } = parseArgs({
  options: {
    origin: { type: 'string', default: '' },
    ca: { type: 'string', default: '' },
    from: { type: 'string', default: '' },
  },
})
const { origin, from: localAddress } = values
const { hostname: host, port } = new URL(origin)
const to = { host, port: Number(port), ca: readFileSync(values.ca), localAddress }

/** What was sent, and how it was answered: `bomb 415`. */
const seen: Record<string, number> = {}
const count = (what: string): void => {
  seen[what] = (seen[what] ?? 0) + 1
}

/** Asks for an answer to each event, and reads none. */
async function deaf(): Promise<never> {
  const event = JSON.stringify({
    type: 'conversation.item.create',
    item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'x'.repeat(20_000) }] },
  })
  for (;;) {
    const socket = new WebSocket(`${origin.replace('https', 'wss')}/v1/realtime`, ['realtime'], {
      ...to,
      perMessageDeflate: false,
    })
    socket.on('error', () => {})
    await new Promise<void>((settle) => {
      socket.once('open', settle).once('close', () => settle())
    })
    socket.pause()
    count('deaf socket')
    const end = Date.now() + 20_000
    while (socket.readyState === WebSocket.OPEN && Date.now() < end) {
      for (let at = 0; at < 20 && socket.bufferedAmount < 4_000_000; at += 1) {
        socket.send(event)
        count('deaf event')
      }
      await pause(20)
    }
    socket.terminate()
  }
}

/** Sends a letter now and then. */
async function slow(what: string, head: string): Promise<never> {
  for (;;) {
    const socket = connect(to)
    await new Promise<void>((settle) => {
      socket.once('secureConnect', settle).once('error', () => settle())
    })
    socket.write(head)
    count(what)
    while (await still(socket)) socket.write('x')
    count(`${what} given up`)
  }
}

async function still(socket: TLSSocket): Promise<boolean> {
  socket.resume()
  await pause(1_000)
  return !socket.destroyed && socket.writable
}

/** A megabyte of head. */
async function huge(): Promise<never> {
  for (;;) {
    const answer = await new Promise<string>((settle) => {
      let heard = ''
      const socket = connect(to, () =>
        socket.write(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(1_000_000)}\r\n\r\n`),
      )
      socket.on('data', (chunk: Buffer) => (heard += chunk.toString()))
      socket.on('error', () => {})
      socket.once('close', () => settle(heard))
    })
    count(`huge head ${/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 'cut'}`)
    await pause(20)
  }
}

/** A quarter of a gigabyte, packed. */
const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024))

async function packed(): Promise<never> {
  for (;;) {
    const status = await new Promise<number | string>((settle) => {
      request(
        `${origin}/api/chat`,
        {
          ...to,
          agent: false,
          method: 'POST',
          headers: {
            host: `${host}:${port}`,
            'content-type': 'application/json',
            'content-encoding': 'gzip',
            'content-length': bomb.length,
          },
        },
        (answer) => {
          answer.resume().once('close', () => settle(answer.statusCode ?? 0))
        },
      )
        .once('error', () => settle('cut'))
        .end(bomb)
    })
    count(`bomb ${status}`)
    await pause(20)
  }
}

const times = (many: number, task: () => Promise<never>): Promise<never>[] =>
  Array.from({ length: many }, task)

setInterval(() => process.stdout.write(`${JSON.stringify(seen)}\n`), 1_000)
await Promise.all([
  ...times(8, deaf),
  ...times(100, () => slow('slow head', 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ')),
  ...times(100, () =>
    slow('slow body', `POST /api/chat HTTP/1.1\r\nHost: ${host}:${port}\r\nContent-Length: 1000000\r\n\r\n{`),
  ),
  ...times(4, huge),
  ...times(4, packed),
])
