/** `sotto lend` on a host of the lab, and a service there that shows what becomes of its requests. */
import { join, resolve } from 'node:path'
import type { Host } from './lab.ts'

const root = resolve(import.meta.dirname, '..', '..')

export interface StartedLender {
  /** The newest of its status. */
  status(): { readonly state?: string; readonly running?: number; readonly lastError?: string | null }
  said(): string
  /** Ends it without a farewell. */
  kill(): Promise<void>
  stop(): Promise<void>
}

/** Resolves when it is connected. */
export async function startLender(
  host: Host,
  key: string,
  ...options: readonly string[]
): Promise<StartedLender> {
  const child = host.start(process.execPath, [join(root, 'sotto.ts'), 'lend', '--json', ...options], {
    stdin: 'ignore',
    buffer: false,
    env: { SOTTO_KEY: key },
  })
  let lines = ''
  let said = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    lines += chunk.toString()
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const status: StartedLender['status'] = () => {
    const last = lines.trimEnd().split('\n').at(-1)
    return last === undefined || last === '' ? {} : JSON.parse(last)
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    await child
  }
  await new Promise<void>((settle, fail) => {
    child.stdout?.on('data', () => {
      if (status().state === 'connected') settle()
    })
    void child.then(() => fail(new Error(said.trim())))
  })
  return { status, said: () => said, kill: () => end('SIGKILL'), stop: () => end('SIGTERM') }
}

/** Echoes, goes on for ever, gives much. */
const service = `
require('http').createServer((request, response) => {
  if (request.url === '/echo') {
    response.writeHead(200, { 'content-type': request.headers['content-type'] })
    return request.pipe(response)
  }
  response.writeHead(200, { 'content-type': 'application/octet-stream' })
  const piece = Buffer.alloc(65536, 120)
  let left = 400
  const go = () => {
    while (left-- > 0) if (!response.write(piece)) return response.once('drain', go)
    response.end()
  }
  go()
}).listen(PORT, '127.0.0.1', () => console.log('ready'))
`
/** What {@link startService} gives at `/big`. */
export const bigBytes = 400 * 65_536

/** Resolves to what ends it. */
export async function startService(host: Host, port: number): Promise<() => Promise<void>> {
  const child = host.start(process.execPath, ['-e', service.replace('PORT', String(port))], { buffer: false })
  await new Promise((settle) => child.stdout?.once('data', settle))
  return async () => {
    child.kill('SIGKILL')
    await child
  }
}
