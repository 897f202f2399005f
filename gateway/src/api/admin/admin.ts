/** What the admin's pages read and change: every route under `/sotto/admin/`. */
import type { Route } from '../route.ts'
import { confirmationRoutes } from './confirmation.ts'
import { deviceRoutes, type DevicesDeps } from './devices.ts'
import { grantRoutes, type GrantsDeps } from './grants.ts'
import { invitationRoutes, type InvitationsDeps } from './invitations.ts'
import { keyRoutes, type KeysDeps } from './keys.ts'
import { lenderRoutes, type LendersDeps } from './lenders.ts'
import { limitRoutes, type LimitsDeps } from './limits.ts'
import { overviewRoutes, type OverviewDeps } from './overview.ts'
import { peopleRoutes } from './people.ts'
import { relayRoutes, type RelaysDeps } from './relays.ts'
import { reportRoutes, type ReportsDeps } from './reports.ts'
import { ruleRoutes } from './rules.ts'
import { servicesRoutes, type ServicesDeps } from './services.ts'

export type AdminDeps = OverviewDeps &
  DevicesDeps &
  KeysDeps &
  LimitsDeps &
  ServicesDeps &
  ReportsDeps &
  LendersDeps &
  RelaysDeps &
  InvitationsDeps &
  GrantsDeps

export function adminRoutes(deps: AdminDeps): Route[] {
  return [
    ...confirmationRoutes(deps),
    ...overviewRoutes(deps),
    ...peopleRoutes(deps),
    ...invitationRoutes(deps),
    ...deviceRoutes(deps),
    ...ruleRoutes(deps),
    ...keyRoutes(deps),
    ...limitRoutes(deps),
    ...servicesRoutes(deps),
    ...lenderRoutes(deps),
    ...relayRoutes(deps),
    ...grantRoutes(deps),
    ...reportRoutes(deps),
  ]
}
