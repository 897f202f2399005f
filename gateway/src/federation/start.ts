/** The relay and the federation over one registry. */
import { hostname } from 'node:os'
import type { Database } from '@sotto/provisioning/database.ts'
import { listFriends, ownMeshId } from '@sotto/provisioning/registry/friend.ts'
import { findMesh, listMeshes, noteMeshes } from '@sotto/provisioning/registry/mesh.ts'
import type { Logger } from 'pino'
import { nextRequestId, write, type Recorder, since } from '#ledger/record.ts'
import { systemClock } from './clock.ts'
import { relayPath } from './frames.ts'
import { createMeshSecrets, type MeshSecrets } from './mesh-secrets.ts'
import { openFederation, type OpenFederation } from './open-federation.ts'
import { openOutbox } from './outbox.ts'
import { relayService } from './registration.ts'
import { createRelay, type Relay } from './relay.ts'

export interface RunningFederation {
  readonly relay: Relay
  readonly federation: OpenFederation
  /** Whether a mesh's id and secret go together. */
  readonly verify: MeshSecrets['verify']
  /** Takes up the registry: who may be here no more is cut, and friends' relays are dialled. */
  update(): Promise<void>
  close(): void
}

export interface StartDeps {
  readonly database: Database
  /** Of the outbox. */
  readonly file: string
  readonly recorder: Recorder
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
}

const noteAfterMs = 500

export async function startFederation({
  database,
  file,
  recorder,
  log,
}: StartDeps): Promise<RunningFederation> {
  const self = { meshId: await ownMeshId(database), name: hostname().split('.')[0] ?? 'sotto' }
  const secrets = createMeshSecrets((meshId) => findMesh(database, meshId))
  const seen = new Map<string, string>()
  let stopNoting = (): void => {}
  /** One write for all that came and went meanwhile: a relay that starts has them all at once. */
  const note = (): void => {
    const all = new Map(seen)
    seen.clear()
    noteMeshes(database, all).catch((error: unknown) =>
      log.error({ err: error }, 'meshes could not be noted'),
    )
  }
  const relay = createRelay({
    async verify(meshId, secret, address) {
      const at = Date.now()
      const began = performance.now()
      const name = await secrets.verify(meshId, secret, address)
      const known = name !== undefined
      write(
        recorder,
        {
          id: nextRequestId(),
          caller: undefined,
          service: relayService,
          ...(known ? { backend: name } : { refusal: 'unauthorized' }),
        },
        {
          at,
          began,
          address,
          method: 'WS',
          path: relayPath,
          status: known ? 101 : 401,
          durationMs: since(began),
          ended: 'whole',
        },
      )
      return name
    },
    seen(meshId, address) {
      seen.set(meshId, address)
      if (seen.size === 1) stopNoting = systemClock.after(noteAfterMs, note)
    },
    clock: systemClock,
    log,
  })
  const federation = openFederation({ self, relay, outbox: await openOutbox(file), log })
  return {
    relay,
    federation,
    verify: secrets.verify,
    async update() {
      const meshes = await listMeshes(database)
      const ids = new Set(meshes.map(({ meshId }) => meshId))
      relay.keepOnly((meshId) => ids.has(meshId))
      federation.update(await listFriends(database), meshes)
    },
    close() {
      relay.close()
      federation.close()
      stopNoting()
    },
  }
}
