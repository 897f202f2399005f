/** How a stand-in is started as a process: on loopback, on `--port N` or a free one, printed as JSON. */
import type { Server } from 'node:http'
import { parseArgs } from 'node:util'

export function announcePort(server: Server): void {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } })
  server.listen(Number(values.port), '127.0.0.1', () => {
    const address = server.address()
    process.stdout.write(`${JSON.stringify({ port: typeof address === 'object' ? address?.port : 0 })}\n`)
  })
}
