import type { Invitation, MailList } from '@sotto/gateway/protocol/account.ts'
import type { PeopleList, PersonChange, PersonStatus, TenantStatus } from '@sotto/gateway/protocol/admin.ts'

/** People and the tenants that they are in, and what an admin does to them. */
export function usePeople() {
  const { t, locale } = useI18n()
  const { change, attempt } = useAdmin()
  const { done } = useTelling()
  const sure = useSure()
  const { data: people, problem, look } = useRead<PeopleList>('/people')
  /** What became of what was mailed; it changes by itself. */
  const { data: mails, look: lookAtMails } = useRead<MailList>('/mails', { everyMs: 5_000 })

  /** Each change is answered with the list after it. */
  function send(method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<boolean> {
    return attempt(async () => {
      people.value = await change<PeopleList>(method, path, body)
    })
  }
  const personPath = (name: string): string => `/people/${encodeURIComponent(name)}`
  const tenantPath = (name: string): string => `/tenants/${encodeURIComponent(name)}`

  async function addPerson(name: string, tenant: string): Promise<boolean> {
    const added = await send('POST', '/people', { name, tenant })
    if (added) done(t('people.person.added', { name }), () => send('DELETE', personPath(name)))
    return added
  }

  async function addTenant(name: string): Promise<boolean> {
    const added = await send('POST', '/tenants', { name })
    if (added) done(t('people.tenant.added', { name }), () => send('DELETE', tenantPath(name)))
    return added
  }

  async function rename({ name }: PersonStatus, to: string): Promise<boolean> {
    const renamed = await send('PATCH', personPath(name), { name: to } satisfies PersonChange)
    if (renamed) done(t('people.person.renamed', { name: to }), () => send('PATCH', personPath(to), { name }))
    return renamed
  }

  async function move({ name }: PersonStatus, from: string, tenant: string): Promise<void> {
    if (await send('PATCH', personPath(name), { tenant } satisfies PersonChange))
      done(t('people.person.moved', { name, tenant }), () =>
        send('PATCH', personPath(name), { tenant: from }),
      )
  }

  /** An account does not come back: who has one is asked for, who has none can be taken back. */
  async function removePerson({ name, account }: PersonStatus, tenant: string): Promise<void> {
    const agreed =
      account === null ||
      (await sure({
        title: t('people.person.removeTitle', { name }),
        consequences: [t('people.person.removeAccount'), t('people.person.removeSessions')],
        action: t('people.person.remove'),
      }))
    if (!agreed || !(await send('DELETE', personPath(name)))) return
    const undo = (): Promise<boolean> => send('POST', '/people', { name, tenant })
    done(t('people.person.removed', { name }), account === null ? undo : undefined)
  }

  /** Makes a link for a person, or has it mailed; undefined where it was refused, and told. */
  async function invite(name: string, mail: string | undefined): Promise<Invitation | undefined> {
    let made: Invitation | undefined
    await attempt(async () => {
      made = await change<Invitation>('POST', `${personPath(name)}/invitation`, {
        ...(mail !== undefined && { mail }),
        language: locale.value === 'de' ? 'de' : 'en',
      })
      if (mail !== undefined) await lookAtMails()
    })
    return made
  }

  async function removeTenant({ name }: TenantStatus): Promise<void> {
    if (await send('DELETE', tenantPath(name)))
      done(t('people.tenant.removed', { name }), () => send('POST', '/tenants', { name }))
  }

  async function setDisabled({ name, people: members }: TenantStatus, disabled: boolean): Promise<void> {
    const devices = members.reduce((sum, member) => sum + member.devices, 0)
    const keys = members.reduce((sum, member) => sum + member.keys, 0)
    const agreed =
      !disabled ||
      (await sure({
        title: t('people.tenant.disableTitle', { name }),
        consequences: [t('people.tenant.disableEnds', { devices, keys }), t('people.tenant.disableKeeps')],
        action: t('people.tenant.disable'),
        undone: t('people.tenant.disableUndo'),
      }))
    if (!agreed || !(await send('PATCH', tenantPath(name), { disabled }))) return
    done(t(disabled ? 'people.tenant.disabledNow' : 'people.tenant.enabledNow', { name }), () =>
      send('PATCH', tenantPath(name), { disabled: !disabled }),
    )
  }

  return {
    people,
    mails,
    invite,
    problem,
    look,
    addPerson,
    addTenant,
    rename,
    move,
    removePerson,
    removeTenant,
    setDisabled,
  }
}
