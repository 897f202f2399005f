import type {
  KeyChange,
  KeyList,
  KeyStatus,
  MadeKeyAnswer,
  NewKeyWish,
} from '@sotto/gateway/protocol/admin.ts'

/** API keys, and what an admin does to them. */
export function useKeys() {
  const { t } = useI18n()
  const { change, attempt } = useAdmin()
  const { done } = useTelling()
  const sure = useSure()
  const { data: keys, problem, look } = useRead<KeyList>('/keys', { everyMs: 10_000 })
  /** A key with its secret, which is shown now or never. */
  const made = shallowRef<MadeKeyAnswer>()
  const pathOf = (name: string): string => `/keys/${encodeURIComponent(name)}`

  function make(wish: NewKeyWish): Promise<boolean> {
    return attempt(async () => {
      made.value = await change<MadeKeyAnswer>('POST', '/keys', wish)
      await look()
    })
  }

  function rotate({ name }: KeyStatus, overlapMs: number): Promise<boolean> {
    return attempt(async () => {
      made.value = await change<MadeKeyAnswer>('POST', `${pathOf(name)}/rotation`, { overlapMs })
      await look()
    })
  }

  function set(name: string, changes: KeyChange): Promise<boolean> {
    return attempt(async () => {
      await change('PATCH', pathOf(name), changes)
      await look()
    })
  }

  async function setDisabled({ name }: KeyStatus, disabled: boolean): Promise<void> {
    if (await set(name, { disabled }))
      done(t(disabled ? 'keys.disabled' : 'keys.enabled', { name }), () => set(name, { disabled: !disabled }))
  }

  async function expire({ name, expiresAt }: KeyStatus, at: string | null): Promise<void> {
    if (await set(name, { expiresAt: at }))
      done(t('keys.expirySet', { name }), () => set(name, { expiresAt }))
  }

  async function remove({ name, requests }: KeyStatus): Promise<void> {
    const agreed = await sure({
      title: t('keys.remove.title', { name }),
      consequences: [
        t('keys.remove.ends'),
        ...(requests > 0 ? [t('keys.remove.used', { requests }, requests)] : []),
        t('keys.remove.records'),
      ],
      action: t('keys.remove.action'),
    })
    if (!agreed) return
    const removed = await attempt(async () => {
      await change('DELETE', pathOf(name))
      await look()
    })
    if (removed) done(t('keys.removed', { name }))
  }

  return { keys, problem, look, made, make, rotate, setDisabled, expire, remove }
}
