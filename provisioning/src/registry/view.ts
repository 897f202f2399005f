/** Devices as people look at them: who and where, how they are, what went through, and by which path. */
import { isOnline } from '#wireguard/peers.ts'
import type { Database } from '../database.ts'
import { isAdmitted, listDevices, type Device } from './device.ts'
import { readPaths, type PathState } from './path.ts'
import { readTraffic, type Traffic } from './traffic.ts'

export type DeviceState = 'online' | 'offline' | 'never' | 'disabled' | 'expired'

/** A device without its preshared key. */
export interface DeviceView extends Omit<Device, 'presharedKey'> {
  readonly state: DeviceState
  /** ISO 8601; null for never. */
  readonly latestHandshake: string | null
  readonly endpoint: string | null
  /** Bytes since it was added, seen from the hub. */
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Whether it runs `sotto join`, which can take direct paths. */
  readonly joined: boolean
  readonly paths: readonly PathView[]
}

export interface PathView {
  /** The other device's name. */
  readonly peer: string
  readonly state: PathState
  readonly reason: string | null
  readonly since: string
}

export async function viewDevices(database: Database, now: number = Date.now()): Promise<DeviceView[]> {
  const devices = await listDevices(database)
  const traffic = await readTraffic(database)
  const paths = await readPaths(database)
  const names = new Map(devices.map(({ id, name }) => [id, name]))
  return devices.map((row) => {
    const { presharedKey: _, ...device } = row
    const seen = traffic.get(device.id)
    return {
      ...device,
      state: stateOf(device, seen, now),
      latestHandshake: seen?.latestHandshake ? new Date(seen.latestHandshake * 1000).toISOString() : null,
      endpoint: seen?.endpoint ?? null,
      receivedBytes: seen?.receivedBytes ?? 0,
      sentBytes: seen?.sentBytes ?? 0,
      joined: device.directKey !== null,
      paths: (paths.get(device.id) ?? []).flatMap(({ peerId, ...path }) => {
        const peer = names.get(peerId)
        return peer === undefined ? [] : [{ peer, ...path }]
      }),
    }
  })
}

function stateOf(
  device: Pick<Device, 'disabledAt' | 'expiresAt'>,
  traffic: Traffic | undefined,
  now: number,
): DeviceState {
  if (device.disabledAt !== null) return 'disabled'
  if (!isAdmitted(device, now)) return 'expired'
  if (traffic?.latestHandshake == null) return 'never'
  return isOnline(traffic, now) ? 'online' : 'offline'
}
