import type { NewDeviceAnswer, NewDeviceWish } from '@sotto/gateway/protocol/admin.ts'
import type { DeviceStatus } from '@sotto/gateway/protocol/devices.ts'

/** How a device comes in: its app scans a code, its browser opens a link, or it runs `sotto join`. */
export type Way = 'scan' | 'link' | 'join'

export interface Made {
  readonly answer: NewDeviceAnswer
  readonly way: Way
  /** The handshake that it had before: of older keys. */
  readonly before: string | null
}

/** From a wish to a device that is connected. */
export type Stage = 'unused' | 'waiting' | 'connected'

/** Adds a device, or gives one other keys, and tells how far it came. */
export function useNewDevice(devices: Ref<readonly DeviceStatus[] | undefined>, look: () => Promise<void>) {
  const { change, attempt } = useAdmin()
  const made = shallowRef<Made>()

  const stage = computed<Stage>(() => {
    const name = made.value?.answer.name
    const device = devices.value?.find((one) => one.name === name)
    if (!device) return made.value?.way === 'scan' ? 'waiting' : 'unused'
    const { latestHandshake, state } = device
    const fresh = latestHandshake !== null && latestHandshake !== made.value?.before
    return fresh && state === 'online' ? 'connected' : 'waiting'
  })

  function add(wish: Omit<NewDeviceWish, 'by'>, way: Way): Promise<boolean> {
    return attempt(async () => {
      const by = way === 'scan' ? 'config' : 'link'
      const answer = await change<NewDeviceAnswer>('POST', '/devices', {
        ...wish,
        by,
      } satisfies NewDeviceWish)
      made.value = { answer, way, before: null }
      await look()
    })
  }

  function rotate({ name }: DeviceStatus): Promise<boolean> {
    return attempt(async () => {
      const path = `/devices/${encodeURIComponent(name)}/rotation`
      const answer = await change<NewDeviceAnswer>('POST', path)
      await look()
      const before = devices.value?.find((one) => one.name === name)?.latestHandshake ?? null
      made.value = { answer, way: 'scan', before }
    })
  }

  return { made, stage, add, rotate }
}
