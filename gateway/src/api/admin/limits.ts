/** What tenants, keys and devices may use, and how much of it is spent. */
import { findAllowance, listAllowances, setAllowance } from '@sotto/provisioning/registry/party.ts'
import { z } from 'zod'
import type { Spent } from '#admission/budgets.ts'
import type { LimitList, Limits, LimitStatus } from '#protocol/admin.ts'
import type { Route } from '../route.ts'
import { changing, type ChangeDeps } from './change.ts'
import { reading } from './reading.ts'

export interface LimitsDeps extends ChangeDeps {
  /** Tokens that are spent, or on their way; see `Records`. */
  spent(subject: string): Promise<Spent>
}

const names = z.array(z.string().min(1).max(200)).max(100).nullable()
const amount = z.int().min(0).nullable()
const limits = z
  .strictObject({
    services: names,
    models: names,
    requestsPerMinute: amount,
    tokensPerMinute: amount,
    concurrent: amount,
    tokensPerDay: amount,
    tokensPerMonth: amount,
    tokensInTotal: amount,
  } satisfies Record<keyof Limits, z.ZodType>)
  .partial()

export function limitRoutes(deps: LimitsDeps): Route[] {
  const { database, spent } = deps
  return [
    reading('/sotto/admin/limits', 'Who is held to what, and what is spent', async () => {
      const all = await listAllowances(database)
      return {
        limits: await Promise.all(
          all.map(async ({ party, subject, allowance }) => ({
            party,
            limits: allowance,
            spent: await spent(subject),
          })),
        ),
      } satisfies LimitList
    }),
    changing(deps, {
      method: 'PATCH',
      path: '/sotto/admin/limits/:party',
      summary: 'Change parts of what tenant:NAME, key:NAME or device:NAME is held to; null takes one away',
      body: limits,
      async apply(sent, { c }) {
        const party = c.req.param('party') ?? ''
        await setAllowance(database, party, sent)
        const { subject, allowance } = await findAllowance(database, party)
        return { party, limits: allowance, spent: await spent(subject) } satisfies LimitStatus
      },
    }),
  ]
}
