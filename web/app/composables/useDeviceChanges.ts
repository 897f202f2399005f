import type { DeviceChange } from '@sotto/gateway/protocol/admin.ts'
import type { DeviceStatus } from '@sotto/gateway/protocol/devices.ts'

/** What an admin does to a device that is there, each with its undo or a question before it. */
export function useDeviceChanges(look: () => Promise<void>) {
  const { t } = useI18n()
  const { change, attempt } = useAdmin()
  const { done } = useTelling()
  const sure = useSure()

  function set(name: string, changes: DeviceChange): Promise<boolean> {
    return attempt(async () => {
      await change('PATCH', `/devices/${encodeURIComponent(name)}`, changes)
      await look()
    })
  }

  async function rename({ name }: DeviceStatus, to: string): Promise<boolean> {
    const renamed = await set(name, { name: to })
    if (renamed) done(t('devices.renamed', { name: to }), () => set(to, { name }))
    return renamed
  }

  async function setDisabled({ name }: DeviceStatus, disabled: boolean): Promise<void> {
    if (await set(name, { disabled }))
      done(t(disabled ? 'devices.disabled' : 'devices.enabled', { name }), () =>
        set(name, { disabled: !disabled }),
      )
  }

  async function expire({ name, expiresAt }: DeviceStatus, at: string | null): Promise<void> {
    if (await set(name, { expiresAt: at }))
      done(t('devices.expirySet', { name }), () => set(name, { expiresAt }))
  }

  async function remove({ name }: DeviceStatus): Promise<void> {
    const agreed = await sure({
      title: t('devices.remove.title', { name }),
      consequences: [t('devices.remove.ends'), t('devices.remove.keys'), t('devices.remove.quarantine')],
      action: t('devices.remove.action'),
    })
    if (!agreed) return
    const removed = await attempt(async () => {
      await change('DELETE', `/devices/${encodeURIComponent(name)}`)
      await look()
    })
    if (removed) done(t('devices.removed', { name }))
  }

  /** Whether the person agrees to what new keys mean. */
  function agreeToRotate({ name, joined }: DeviceStatus): Promise<boolean> {
    return sure({
      title: t('devices.rotate.title', { name }),
      consequences: [
        t('devices.rotate.ends'),
        t('devices.rotate.shown'),
        ...(joined ? [t('devices.rotate.joined')] : []),
      ],
      action: t('devices.rotate.action'),
    })
  }

  return { rename, setDisabled, expire, remove, agreeToRotate }
}
