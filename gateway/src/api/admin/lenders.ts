/** Machines that lend what they have: who is there, on what hardware, and who was. */
import type { Database } from '@sotto/provisioning/database.ts'
import { listLenders, type KnownLender } from '@sotto/provisioning/registry/lender.ts'
import { parseJson } from '#engines/json.ts'
import type { LenderList, LenderStatus } from '#protocol/admin.ts'
import type { Hub, LiveLender } from '#tunnel/hub.ts'
import { offer } from '#tunnel/offer.ts'
import type { Route } from '../route.ts'
import { reading } from './reading.ts'

export interface LendersDeps {
  readonly database: Database
  readonly hub: Pick<Hub, 'find'>
}

export function lenderRoutes({ database, hub }: LendersDeps): Route[] {
  return [
    reading('/sotto/admin/lenders', 'The machines that lend what they have', async () => {
      return { lenders: await listLenderStatuses({ database, hub }) } satisfies LenderList
    }),
  ]
}

export async function listLenderStatuses({ database, hub }: LendersDeps): Promise<LenderStatus[]> {
  const known = await listLenders(database)
  return known.flatMap((one) => statusOf(one, hub.find(one.person, one.name)) ?? [])
}

/** Undefined for one that told of itself in a form that is not read any more. */
function statusOf(known: KnownLender, live: LiveLender | undefined): LenderStatus | undefined {
  const told = offer.safeParse(parseJson(known.offer))
  if (!told.success) return undefined
  const { hardware, parallel, ollama, whisper, services } = told.data
  const [backend] = live?.lent.engines.pool.backends ?? []
  return {
    name: known.name,
    person: known.person,
    key: known.key,
    connected: live !== undefined,
    address: known.address,
    at: live?.since.toISOString() ?? known.lastAt,
    firstAt: known.firstAt,
    services: [...(ollama ? ['ollama'] : []), ...(whisper ? ['whisper'] : []), ...services],
    models: backend?.models ?? [],
    loaded: backend?.loaded ?? [],
    running: backend?.running ?? 0,
    waiting: backend?.waiting ?? 0,
    parallel,
    hardware,
  }
}
