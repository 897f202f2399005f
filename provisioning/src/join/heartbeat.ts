/**
 * Asks the other end of a direct path whether it hears us, over the path itself: one small UDP packet there
 * and one back, inside the tunnel, between link-local addresses that exist on the direct interface alone. So
 * it shows that data passes both ways, before anything rides on the path and while it does.
 */
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import ipaddr from 'ipaddr.js'

export interface Heartbeat {
  /** Asks the peer with that direct key. */
  ask(publicKey: string): void
  close(): void
}

/** UDP, on the direct interface's link-local address alone. */
const port = 51_819
const ask = 0x3f
const answer = 0x21

/** The link-local address of a device on its direct interface: `fe80::` and 64 bits of its key's hash. */
export function linkLocal(publicKey: string): string {
  const id = createHash('sha256').update(publicKey).digest().subarray(0, 8)
  return ipaddr.fromByteArray([0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...id]).toString()
}

/**
 * Listens on the direct interface; rejects where the machine has no IPv6 there.
 *
 * @param heard called for each answer, with the peer's direct key
 */
export async function openHeartbeat(
  { name, publicKey }: { readonly name: string; readonly publicKey: string },
  peers: () => readonly string[],
  heard: (publicKey: string) => void,
): Promise<Heartbeat> {
  const socket = createSocket('udp6')
  // A packet that can't be sent is one that is not answered, and that is what counts.
  const send = (kind: number, address: string) =>
    socket.send(Buffer.of(kind), port, `${address}%${name}`, () => {})
  socket.on('message', (message, { address }) => {
    const from = address.split('%')[0] ?? ''
    if (message[0] === ask) send(answer, from)
    if (message[0] !== answer) return
    const peer = peers().find((key) => linkLocal(key) === ipaddr.parse(from).toString())
    if (peer !== undefined) heard(peer)
  })
  await new Promise<void>((settle, fail) => {
    socket.once('error', fail)
    socket.bind(port, `${linkLocal(publicKey)}%${name}`, () => {
      socket.off('error', fail)
      socket.on('error', () => {})
      settle()
    })
  })
  return { ask: (key) => send(ask, linkLocal(key)), close: () => socket.close() }
}
