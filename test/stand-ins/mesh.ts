/**
 * A mesh that knows the relay's frames and nothing else: what stands in a line of stdin it sends, and what comes it
 * says, a line each; at the end `{"closed": CODE}`.
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { WebSocket } from 'ws'

const { values } = parseArgs({ options: { url: { type: 'string' }, ca: { type: 'string' } } })
const socket = new WebSocket(values.url ?? '', { ca: readFileSync(values.ca ?? '') })
socket.on('open', () => process.stdout.write('{"open":true}\n'))
socket.on('message', (data) => {
  if (data instanceof Buffer) process.stdout.write(`${data.toString()}\n`)
})
socket.on('error', (error) => process.stdout.write(`${JSON.stringify({ failed: error.message })}\n`))
socket.on('close', (code) => {
  process.stdout.write(`${JSON.stringify({ closed: code })}\n`)
  process.exit()
})
for await (const line of createInterface(process.stdin)) socket.send(line)
