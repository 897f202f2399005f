/** Keeps the interface as the registry has it: raised at the start, in step after each change, raised again. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Device } from '#registry/device.ts'
import { lower, raise, readPeers, synchronise, type Hub } from './interface.ts'
import type { LivePeer } from './peers.ts'
import type { Implementation } from './tools.ts'

export interface Keeper {
  readonly implementation: Implementation
  /** Brings the live peers in step with these devices. */
  update(devices: readonly Device[]): Promise<void>
  /** Takes the interface down and stops keeping it. */
  close(): Promise<void>
}

export interface KeeperEvents {
  /** The interface was gone, or its peers were changed by hand, and is right again. */
  mended(what: 'interface' | 'peers'): void
  /** It is not as it should be and could not be mended; tried again at the next look. */
  failed(error: unknown): void
}

/** Soon enough that a call through a vanished interface is only a hiccup; one `wg show` costs some 3 ms. */
const lookEveryMs = 2_000

/** Raises the interface and keeps it. Throws a `Problem` where it can't be raised at all. */
export async function keepInterface(
  hub: Hub,
  devices: readonly Device[],
  events: KeeperEvents,
): Promise<Keeper> {
  let wanted = devices
  const stop = new AbortController()
  const implementation = await raise(hub, wanted)
  // One change at a time: a look between two halves of a change would undo it.
  let turn: Promise<void> = Promise.resolve()
  const inTurn = (task: () => Promise<void>): Promise<void> => {
    const done = turn.then(task)
    turn = done.catch(() => {})
    return done
  }

  const look = async (): Promise<void> => {
    const peers = await readPeers(hub.network.interface)
    if (peers === undefined) {
      await raise(hub, wanted)
      events.mended('interface')
    } else if (!inStep(peers, wanted)) {
      await synchronise(hub, wanted)
      events.mended('peers')
    }
  }
  const watching = (async () => {
    while (await sleeps(lookEveryMs, stop.signal)) {
      await inTurn(look).catch((error: unknown) => events.failed(error))
    }
  })()

  return {
    implementation,
    update: (next) =>
      inTurn(async () => {
        wanted = next
        await synchronise(hub, wanted)
      }),
    async close() {
      stop.abort()
      await watching
      await inTurn(() => lower(hub.network))
    },
  }
}

function inStep(peers: readonly LivePeer[], devices: readonly Device[]): boolean {
  const live = new Map(peers.map((peer) => [peer.publicKey, peer.allowedIps.toSorted().join()]))
  return (
    live.size === devices.length &&
    devices.every(
      (device) =>
        live.get(device.publicKey) === [`${device.address4}/32`, `${device.address6}/128`].toSorted().join(),
    )
  )
}

async function sleeps(ms: number, signal: AbortSignal): Promise<boolean> {
  return pause(ms, true, { signal, ref: false }).catch(() => false)
}
