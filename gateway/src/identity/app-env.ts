/** What every handler finds: Node's request beneath Hono's, and who is asking. */
import type { HttpBindings } from '@hono/node-server'
import type { Caller } from './caller.ts'

export interface AppEnv {
  Bindings: HttpBindings
  Variables: { caller: Caller }
}
