/** A Wyoming server for tests: real TCP on loopback, whose answers the test writes itself. */
import { createServer, type Socket } from 'node:net'

interface Heard {
  readonly type: string
  readonly data: Record<string, unknown>
  readonly payload: Buffer
}

export interface WyomingPeer {
  readonly socket: Socket
  /** What it sent so far. */
  readonly events: Heard[]
  /** As Python's server writes it: data in a second JSON, after the line. */
  send(type: string, data?: object, payload?: Uint8Array): void
}

export async function serveWyoming(answer: (event: Heard, peer: WyomingPeer) => unknown) {
  const peers: WyomingPeer[] = []
  const server = createServer((socket) => {
    const peer: WyomingPeer = {
      socket,
      events: [],
      send(type, data = {}, payload = new Uint8Array(0)) {
        const more = Buffer.from(JSON.stringify(data))
        const line = { type, version: '1.7.1', data_length: more.length, payload_length: payload.length }
        // In small pieces: TCP knows no events.
        const bytes = Buffer.concat([Buffer.from(`${JSON.stringify(line)}\n`), more, payload])
        for (let at = 0; at < bytes.length; at += 101) socket.write(bytes.subarray(at, at + 101))
      },
    }
    peers.push(peer)
    let unread = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      for (let end = unread.indexOf('\n'); end !== -1; end = unread.indexOf('\n')) {
        const head = JSON.parse(unread.toString('utf8', 0, end)) as Heard & { payload_length?: number }
        const whole = end + 1 + (head.payload_length ?? 0)
        if (unread.length < whole) return
        const event = { type: head.type, data: head.data, payload: unread.subarray(end + 1, whole) }
        unread = unread.subarray(whole)
        peer.events.push(event)
        answer(event, peer)
      }
    })
  })
  await new Promise<void>((settle) => {
    server.listen(0, '127.0.0.1', settle)
  })
  const address = server.address()
  return {
    url: `tcp://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    peers,
    close: () =>
      new Promise<void>((settle) => {
        server.close(() => settle())
        for (const { socket } of peers) socket.destroy()
      }),
  }
}
