/** How a stand-in is started as a process: on loopback, on `--port N` or a free one, printed as JSON. */
import type { Server } from 'node:net'
import { parseArgs } from 'node:util'

/** @returns what else it was started with */
export function announcePort(server: Server): readonly string[] {
  const { values, positionals } = parseArgs({
    options: { port: { type: 'string', default: '0' } },
    allowPositionals: true,
  })
  server.listen(Number(values.port), '127.0.0.1', () => {
    const address = server.address()
    process.stdout.write(`${JSON.stringify({ port: typeof address === 'object' ? address?.port : 0 })}\n`)
  })
  return positionals
}
