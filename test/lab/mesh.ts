/** A mesh that knows nothing of Sotto, on a host of the lab. */
import { resolve } from 'node:path'
import { expect } from 'vitest'
import type { Host } from './lab.ts'

const program = resolve(import.meta.dirname, '..', 'stand-ins', 'mesh.ts')

type Frame = Readonly<Record<string, unknown>>

export interface Mesh {
  send(frame: object | string): void
  /** Everything that came so far. */
  readonly got: readonly Frame[]
  /** Resolves to the first frame that matches, of those that came and those that come; it is taken out. */
  next(like: object): Promise<Frame>
  /** Ends it without a farewell. */
  stop(): Promise<void>
}

/** Resolves when the socket is open. */
export async function startMesh(host: Host, url: string, ca: string): Promise<Mesh> {
  const child = host.start(process.execPath, [program, '--url', url, '--ca', ca], { buffer: false })
  const got: Frame[] = []
  let rest = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) got.push(JSON.parse(line))
  })
  const matches = (like: object) =>
    got.findIndex((frame) => expect.objectContaining(like).asymmetricMatch(frame))
  const mesh: Mesh = {
    send: (frame) =>
      void child.stdin?.write(`${typeof frame === 'string' ? frame : JSON.stringify(frame)}\n`),
    got,
    async next(like) {
      await expect.poll(() => matches(like), { timeout: 20_000 }).toBeGreaterThanOrEqual(0)
      return got.splice(matches(like), 1)[0] ?? {}
    },
    async stop() {
      child.kill('SIGKILL')
      await child
    },
  }
  await mesh.next({ open: true })
  return mesh
}
