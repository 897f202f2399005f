/** An answer to a WebSocket's handshake that is not let in. */
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'

/** @param error as JSON; left out, the answer says nothing */
export function refuseUpgrade(
  socket: Duplex,
  status: number,
  error?: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = error === undefined ? '' : JSON.stringify(error)
  const type = error === undefined ? '' : 'Content-Type: application/json\r\n'
  const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n${type}${more.join('')}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
