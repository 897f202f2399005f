/** A gateway's part among its neighbours: its door, and what it has of theirs. */
import { trustedRoots } from '@sotto/certs/rollover.ts'
import { openDoor, type Door, type DoorOptions } from './door.ts'
import { joinNeighbours, type Neighbours, type NeighboursDeps } from './neighbours.ts'

export interface RunningNeighbours extends Neighbours, Pick<Door, 'renew'> {}

export interface StartDeps
  extends Omit<NeighboursDeps, 'at' | 'roots'>, Pick<DoorOptions, 'listen' | 'certificate'> {
  readonly hub: NeighboursDeps['hub'] & DoorOptions['hub']
  /** Directory of the CA, the same for all of them. */
  readonly certs: string
}

export async function startNeighbours(deps: StartDeps): Promise<RunningNeighbours> {
  const { listen, certs } = deps
  const door = await openDoor(deps)
  const neighbours = joinNeighbours({
    ...deps,
    at: { host: listen.host, port: door.port },
    roots: () => trustedRoots(certs),
  })
  return {
    get count() {
      return neighbours.count
    },
    find: neighbours.find,
    renew: door.renew,
    async close() {
      await neighbours.close()
      await door.close()
    },
  }
}
