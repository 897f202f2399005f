import type {
  InvitationAnswer,
  JoinedStatus,
  JoinWish,
  MeshStatus,
  RelayList,
} from '@sotto/gateway/protocol/admin.ts'

/** Friends' gateways: on our relay and on theirs; and what an admin does to them. */
export function useRelays() {
  const { t } = useI18n()
  const { change, attempt } = useAdmin()
  const { done } = useTelling()
  const sure = useSure()
  const { data: relays, problem, look } = useRead<RelayList>('/relays', { everyMs: 3_000 })
  /** With its code, which is shown now or never. */
  const made = shallowRef<InvitationAnswer>()

  function invite(name: string): Promise<boolean> {
    return attempt(async () => {
      made.value = await change<InvitationAnswer>('POST', '/relays/invitations', { name })
      await look()
    })
  }

  async function join(wish: JoinWish): Promise<boolean> {
    const joined = await attempt(async () => {
      await change('POST', '/relays/joined', wish)
      await look()
    })
    if (joined) done(t('relays.join.done', { name: wish.name }))
    return joined
  }

  async function end(name: string, told: string): Promise<void> {
    const ended = await attempt(async () => {
      await change('DELETE', `/relays/${encodeURIComponent(name)}`)
      await look()
    })
    if (ended) done(told)
  }

  const dropped = (waiting: number): string[] =>
    waiting > 0 ? [t('relays.remove.waiting', { waiting }, waiting)] : []

  async function remove({ name, waiting }: MeshStatus): Promise<void> {
    const agreed = await sure({
      title: t('relays.remove.title', { name }),
      consequences: [t('relays.remove.ends'), ...dropped(waiting), t('relays.remove.again')],
      action: t('relays.remove.action'),
    })
    if (agreed) await end(name, t('relays.remove.done', { name }))
  }

  async function leave({ name, waiting }: JoinedStatus): Promise<void> {
    const agreed = await sure({
      title: t('relays.part.title', { name }),
      consequences: [t('relays.part.ends', { name }), ...dropped(waiting), t('relays.part.again')],
      action: t('relays.part.action'),
    })
    if (agreed) await end(name, t('relays.part.done', { name }))
  }

  /** Another can be made at once, so nobody is asked. */
  const withdraw = (name: string): Promise<void> => end(name, t('relays.invitations.withdrawn', { name }))

  return { relays, problem, look, made, invite, join, remove, leave, withdraw }
}
