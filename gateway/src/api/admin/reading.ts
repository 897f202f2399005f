/** A route by which the admin looks at something. */
import { ownDialect } from '../envelope.ts'
import type { Call, Route } from '../route.ts'

/** What is told here is no cache's to keep. */
export const noStore = { 'cache-control': 'no-store' } as const

export function reading(path: string, summary: string, read: (call: Call) => Promise<object>): Route {
  return {
    group: 'admin',
    dialect: ownDialect,
    method: 'GET',
    path,
    summary,
    quiet: true,
    handle: async (call) => call.c.json(await read(call), 200, noStore),
  }
}
