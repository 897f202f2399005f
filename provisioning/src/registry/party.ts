/** Those whom an allowance can hold, as people name them: `tenant:home`, `key:backup script`, `device:phone`. */
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { readAllowances, unlimited, writeAllowance, type Allowance } from './allowance.ts'
import { findDevice, listDevices } from './device.ts'
import { findKey, listKeys } from './key.ts'
import { bumpRevision } from './network.ts'
import { findTenant, listTenants } from './tenant.ts'

export interface PartyAllowance {
  /** `tenant:home`, `key:backup script` or `device:phone` */
  readonly party: string
  /** The registry's name of it. */
  readonly subject: string
  readonly allowance: Allowance
}

/** All that are held to anything. */
export async function listAllowances(database: Database): Promise<PartyAllowance[]> {
  const names = new Map<string, string>([
    ...(await listTenants(database)).map(({ id, name }) => [`tenant:${id}`, `tenant:${name}`] as const),
    ...(await listKeys(database)).map(({ id, name }) => [`key:${id}`, `key:${name}`] as const),
    ...(await listDevices(database)).map(({ id, name }) => [`device:${id}`, `device:${name}`] as const),
  ])
  return [...(await readAllowances(database))].flatMap(([subject, allowance]) => {
    const party = names.get(subject)
    return party === undefined || Object.values(allowance).every((part) => part === null)
      ? []
      : [{ party, subject, allowance }]
  })
}

/** What one party is held to. Throws a `Problem` where there is none. */
export async function findAllowance(database: Database, party: string): Promise<PartyAllowance> {
  const subject = await findSubject(database, party)
  return { party, subject, allowance: (await readAllowances(database)).get(subject) ?? unlimited }
}

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
async function findSubject(database: Database, party: string): Promise<string> {
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
