/** Everything under `/sotto/account`: signing in, links, and what is one's own. */
import type { Route } from '../route.ts'
import type { AccountDeps } from './deps.ts'
import { linkRoutes } from './links.ts'
import { securityRoutes } from './security.ts'
import { signingInRoutes } from './signing-in.ts'
import { thingRoutes } from './things.ts'

export function accountRoutes(deps: AccountDeps): Route[] {
  return [...signingInRoutes(deps), ...linkRoutes(deps), ...securityRoutes(deps), ...thingRoutes(deps)]
}
