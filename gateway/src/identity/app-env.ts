/** What every handler finds: Node's request beneath Hono's. */
import type { HttpBindings } from '@hono/node-server'

export interface AppEnv {
  Bindings: HttpBindings
}
