import type { DeviceList, DeviceStatus } from '@sotto/gateway/protocol/devices.ts'

/** How many looks a rate chart shows. */
const kept = 60
const lookEveryMs = 2_000

export interface Rate {
  readonly received: number
  readonly sent: number
}

/** The devices as they are now, and bytes a second of the last two minutes; while the page is in sight. */
export function useDevices() {
  const devices = ref<readonly DeviceStatus[]>()
  const problem = ref<string>()
  const rates = shallowReactive(new Map<string, Rate[]>())
  let last: { readonly at: number; readonly devices: readonly DeviceStatus[] } | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  async function look(): Promise<void> {
    try {
      const answer = await fetch('/sotto/devices')
      if (!answer.ok) throw new Error(`The gateway answered ${answer.status}.`)
      const list: DeviceList = await answer.json()
      measure(list.devices)
      devices.value = list.devices
      problem.value = undefined
    } catch {
      problem.value = 'The gateway does not answer. This is what was seen last.'
    }
  }

  function measure(now: readonly DeviceStatus[]): void {
    const at = performance.now()
    const before = new Map(last?.devices.map((device) => [device.id, device]))
    for (const device of now) {
      const then = before.get(device.id)
      if (!then || !last) continue
      const seconds = (at - last.at) / 1000
      const rate = {
        received: Math.max(0, device.receivedBytes - then.receivedBytes) / seconds,
        sent: Math.max(0, device.sentBytes - then.sentBytes) / seconds,
      }
      rates.set(device.id, [...(rates.get(device.id) ?? []), rate].slice(-kept))
    }
    last = { at, devices: now }
  }

  async function loop(): Promise<void> {
    if (!document.hidden) await look()
    timer = setTimeout(() => void loop(), lookEveryMs)
  }
  onMounted(() => void loop())
  onUnmounted(() => clearTimeout(timer))
  return { devices, problem, rates }
}
