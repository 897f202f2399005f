/** What the registry says of the overlay, at one moment. */
import type { Registry } from '#overlay/plan.ts'
import type { Database } from '../database.ts'
import { listDevices } from './device.ts'
import { openLinks } from './link.ts'
import { listRules } from './rule.ts'
import { readEndpoints } from './traffic.ts'

export async function readRegistry(database: Database): Promise<Registry> {
  return database.transaction().execute(async (transaction) => ({
    devices: await listDevices(transaction),
    links: await openLinks(transaction),
    rules: await listRules(transaction),
    endpoints: await readEndpoints(transaction),
  }))
}
