/** Those whom an allowance can hold, as people name them: `tenant:home`, `key:backup script`, `device:phone`. */
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { writeAllowance, type Allowance } from './allowance.ts'
import { findDevice } from './device.ts'
import { findKey } from './key.ts'
import { bumpRevision } from './network.ts'
import { findTenant } from './tenant.ts'

/**
 * Changes parts of an allowance; null takes a part away.
 *
 * @param party `tenant:NAME`, `key:NAME` or `device:NAME`. Throws a `Problem` where there is none.
 */
export async function setAllowance(
  database: Database,
  party: string,
  changes: Partial<Allowance>,
): Promise<Allowance> {
  return database.transaction().execute(async (transaction) => {
    const subject = await findSubject(transaction, party)
    const allowance = await writeAllowance(transaction, subject, changes)
    await bumpRevision(transaction)
    return allowance
  })
}

/** The registry's name of a party that people name. */
export async function findSubject(database: Database, party: string): Promise<string> {
  const [, kind, name = ''] = /^(tenant|key|device):(.+)$/.exec(party) ?? []
  if (kind === 'tenant') return `tenant:${(await findTenant(database, name)).id}`
  if (kind === 'key') return `key:${(await findKey(database, name)).id}`
  if (kind === 'device') return `device:${(await findDevice(database, name)).id}`
  throw new Problem(
    'party',
    `“${party}” is no tenant:NAME, key:NAME or device:NAME.`,
    'For example: ./sotto limit tenant:home --tokens-per-day 1000000',
  )
}
