/** A client of the gateway, and what is measured of two ways to the same place. */
import { Agent, request } from 'node:https'
import { median } from './report.ts'

interface Seen {
  readonly ms: number
  readonly firstByteMs: number
  readonly bytes: number
}

export interface Pair {
  readonly direct: number[]
  readonly tunnel: number[]
}

export function paired(): Pair {
  return { direct: [], tunnel: [] }
}

/** @param key left out, the address alone says who asks */
export function createClient(origin: string, key?: string) {
  // Its own certificate, of its own authority, for a second.
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
  return (path: string, body = '{}') =>
    new Promise<Seen & { readonly status: number }>((settle, fail) => {
      const start = performance.now()
      const asked = request(
        `${origin}${path}`,
        { method: 'POST', agent, ...(key !== undefined && { headers: { authorization: `Bearer ${key}` } }) },
        (answer) => {
          const firstByteMs = performance.now() - start
          let bytes = 0
          answer.on('data', (chunk: Buffer) => {
            bytes += chunk.length
          })
          answer.once('error', fail)
          answer.once('end', () =>
            settle({ status: answer.statusCode ?? 0, ms: performance.now() - start, firstByteMs, bytes }),
          )
        },
      )
      asked.once('error', fail)
      asked.end(body)
    })
}

export type Ask = ReturnType<typeof createClient>

export function ratioOf({ direct, tunnel }: Pair): number {
  return median(tunnel) / median(direct)
}
