import type { DeviceList, DeviceStatus } from '@sotto/gateway/protocol/devices.ts'
import { ask, Refused } from '~/gateway/ask'

/** How many looks a rate chart shows. */
export const keptLooks = 60
const lookEveryMs = 2_000

/** Bytes a second, seen from the gateway: received from the device, sent to it. */
export interface Rate {
  readonly received: number
  readonly sent: number
}

/** The devices as they are now, and bytes a second of the last two minutes; while the page is in sight. */
export function useDevices() {
  const devices = ref<readonly DeviceStatus[]>()
  const problem = shallowRef<Refused>()
  const rates = shallowReactive(new Map<string, readonly Rate[]>())
  let last: { readonly at: number; readonly devices: readonly DeviceStatus[] } | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  async function look(): Promise<void> {
    try {
      const list = await ask<DeviceList>('GET', '/sotto/devices')
      measure(list.devices)
      devices.value = list.devices
      problem.value = undefined
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      problem.value = error
    }
  }

  function measure(now: readonly DeviceStatus[]): void {
    const at = performance.now()
    // A second look for a change's sake: too short a time to tell a rate of.
    if (last && at - last.at < lookEveryMs / 2) return
    const before = new Map(last?.devices.map((device) => [device.id, device]))
    for (const device of now) {
      const then = before.get(device.id)
      if (!then || !last) continue
      const seconds = (at - last.at) / 1000
      const rate = {
        received: Math.max(0, device.receivedBytes - then.receivedBytes) / seconds,
        sent: Math.max(0, device.sentBytes - then.sentBytes) / seconds,
      }
      rates.set(device.id, [...(rates.get(device.id) ?? []), rate].slice(-keptLooks))
    }
    last = { at, devices: now }
  }

  async function loop(): Promise<void> {
    if (!document.hidden) await look()
    timer = setTimeout(() => void loop(), lookEveryMs)
  }
  onMounted(() => void loop())
  onUnmounted(() => clearTimeout(timer))
  return { devices, problem, rates, look }
}
