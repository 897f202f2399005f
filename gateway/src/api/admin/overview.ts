/** What the admin looks at first. */
import type { Database } from '@sotto/provisioning/database.ts'
import { requireNetwork } from '@sotto/provisioning/registry/network.ts'
import { viewDevices } from '@sotto/provisioning/registry/view.ts'
import type { Reports } from '#ledger/reports.ts'
import type { Overview, Trouble } from '#protocol/admin.ts'
import packageJson from '../../../package.json' with { type: 'json' }
import type { Route } from '../route.ts'
import { reading } from './reading.ts'
import { dayMs, today } from './since.ts'

export interface OverviewDeps {
  readonly database: Database
  readonly reports: Pick<Reports, 'totals' | 'threats'>
  /** What the running gateway knows of itself. */
  facts(): Facts
}

export interface Facts {
  readonly startedAt: Date
  readonly origins: readonly string[]
  /** Of the certificate authority. */
  readonly fingerprint: string
  /** Of the leaf that the listener shows now. */
  readonly certificateExpiresAt: Date
  /** `kernel`, `wireguard-go`, …; undefined while there is no interface. */
  readonly implementation: string | undefined
  readonly troubles: readonly Trouble[]
}

const threatDays = 7
/** A page that stays open asks every few seconds, and this goes through a month of rows. */
const threatsKeptMs = 10_000

export function overviewRoutes({ database, reports, facts }: OverviewDeps): Route[] {
  let known = { at: -Infinity, threats: 0 }
  const countThreats = async (): Promise<number> => {
    const at = performance.now()
    if (at - known.at > threatsKeptMs)
      known = { at, threats: (await reports.threats(Date.now() - threatDays * dayMs)).length }
    return known.threats
  }
  return [
    reading('/sotto/admin/overview', 'What one looks at first', async () => {
      const { range4, range6, endpoint } = await requireNetwork(database)
      const devices = await viewDevices(database)
      const { startedAt, origins, fingerprint, certificateExpiresAt, implementation, troubles } = facts()
      return {
        version: packageJson.version,
        startedAt: startedAt.toISOString(),
        origins,
        fingerprint,
        certificateExpiresAt: certificateExpiresAt.toISOString(),
        network: { range4, range6, endpoint, implementation: implementation ?? null },
        devices: { online: devices.filter(({ state }) => state === 'online').length, all: devices.length },
        today: await reports.totals(Date.parse(today())),
        threats: await countThreats(),
        troubles,
      } satisfies Overview
    }),
  ]
}
