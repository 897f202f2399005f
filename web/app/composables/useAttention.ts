import type { KeyList, LimitList, Overview, ServiceList, Trouble } from '@sotto/gateway/protocol/admin.ts'
import { budgetsOf, partyOf } from '~/records/budget'

export interface Attention {
  readonly id: string
  readonly severe: boolean
  readonly kind:
    | 'disk'
    | 'clock'
    | 'interface'
    | 'certificate'
    | 'threats'
    | 'endpoint'
    | 'service'
    | 'limit'
    | 'key'
  readonly title: string
  /** What to do about it. */
  readonly remedy: string
  readonly command?: string
  readonly to?: string
}

const dayMs = 86_400_000
/** The gateway renews its certificate 30 days before its end: one that has less left was not renewed. */
const renewalMs = 21 * dayMs
const keyEndsMs = 7 * dayMs
/** What helps, where a command does. */
const commands = {
  disk_full: './sotto doctor',
  disk_unwritable: './sotto doctor',
  clock: 'sudo timedatectl set-ntp true',
  interface: './sotto doctor',
  certificate: './sotto doctor',
} as const satisfies Record<Trouble['kind'], string>
const kinds = {
  disk_full: 'disk',
  disk_unwritable: 'disk',
  clock: 'clock',
  interface: 'interface',
  certificate: 'certificate',
} as const satisfies Record<Trouble['kind'], Attention['kind']>

/** What is wrong now, or will soon be, and what to do about it: the worst first. */
export function useAttention(
  overview: Ref<Overview | undefined>,
  services: Ref<ServiceList | undefined>,
  limits: Ref<LimitList | undefined>,
  keys: Ref<KeyList | undefined>,
) {
  const { t } = useI18n()
  const { number, ago } = useFormat()
  const { percent } = useFigures()
  const say = (
    what: string,
    part: 'title' | 'remedy',
    named: Record<string, string> = {},
    count = 1,
  ): string => t(`records.attention.${what}.${part}`, named, count)

  function* ofTroubles({ troubles }: Overview): Generator<Attention> {
    for (const { kind, since, over } of troubles) {
      // It was taken away, and is back: nothing is left to do.
      const mended = kind === 'interface' && over
      const what = `troubles.${mended ? 'interface_mended' : kind}`
      yield {
        id: `trouble ${kind}`,
        severe: !over,
        kind: kinds[kind],
        title: say(what, 'title', { when: ago(since) }),
        remedy: say(what, 'remedy'),
        ...(!mended && { command: commands[kind] }),
      }
    }
  }

  function* ofNetwork({ network, certificateExpiresAt, threats }: Overview): Generator<Attention> {
    if (network.implementation === null)
      yield {
        id: 'interface',
        severe: true,
        kind: 'interface',
        title: say('interface', 'title'),
        remedy: say('interface', 'remedy'),
        command: './sotto doctor',
      }
    if (Date.parse(certificateExpiresAt) - Date.now() < renewalMs)
      yield {
        id: 'certificate',
        severe: true,
        kind: 'certificate',
        title: say('certificate', 'title', { when: ago(certificateExpiresAt) }),
        remedy: say('certificate', 'remedy'),
        command: './sotto doctor',
      }
    if (threats > 0)
      yield {
        id: 'threats',
        severe: true,
        kind: 'threats',
        title: say('threats', 'title', { amount: number(threats) }, threats),
        remedy: say('threats', 'remedy'),
        to: '/admin/threats',
      }
    if (network.implementation !== null && network.endpoint === null)
      yield {
        id: 'endpoint',
        severe: false,
        kind: 'endpoint',
        title: say('endpoint', 'title'),
        remedy: say('endpoint', 'remedy'),
        command: 'npm start -- --endpoint HOST',
      }
  }

  function* ofServices(list: ServiceList): Generator<Attention> {
    for (const { name, kind, up } of list.backends)
      if (!up)
        yield {
          id: `backend ${name}`,
          severe: true,
          kind: 'service',
          title: say('backend', 'title', { name }),
          remedy: t(`records.services.remedies.${kind}`),
          to: '/admin/services',
        }
    for (const { role, name, up, problem, remedy } of list.services)
      // What nobody asks until it is used, or nobody set up, is no worry.
      if (up === false)
        yield {
          id: `${role} ${name}`,
          severe: false,
          kind: 'service',
          title: say('service', 'title', {
            name: role === 'service' ? name : t(`records.services.roles.${role}`),
          }),
          remedy: remedy ?? problem ?? say('service', 'remedy'),
          to: '/admin/services',
        }
  }

  function* ofLimits(list: LimitList): Generator<Attention> {
    for (const one of list.limits)
      for (const { part, spent, limit, level } of budgetsOf(one)) {
        if (level === 'fine') continue
        const { kind, name } = partyOf(one.party)
        yield {
          id: `${one.party} ${part}`,
          severe: level === 'over',
          kind: 'limit',
          title: say(level, 'title', {
            party: t(`records.parties.${kind}`, { name }),
            budget: t(`records.attention.budgets.${part}`),
            share: percent(limit === 0 ? 1 : spent / limit),
          }),
          remedy: say(level, 'remedy'),
          to: '/admin/limits',
        }
      }
  }

  function* ofKeys(list: KeyList): Generator<Attention> {
    for (const { name, state, expiresAt } of list.keys)
      if (state === 'active' && expiresAt !== null && Date.parse(expiresAt) - Date.now() < keyEndsMs)
        yield {
          id: `key ${name}`,
          severe: false,
          kind: 'key',
          title: say('key', 'title', { name, when: ago(expiresAt) }),
          remedy: say('key', 'remedy'),
          to: '/admin/keys',
        }
  }

  return computed<Attention[]>(() =>
    [
      ...(overview.value ? ofTroubles(overview.value) : []),
      ...(overview.value ? ofNetwork(overview.value) : []),
      ...(services.value ? ofServices(services.value) : []),
      ...(limits.value ? ofLimits(limits.value) : []),
      ...(keys.value ? ofKeys(keys.value) : []),
    ].toSorted((one, other) => Number(other.severe) - Number(one.severe)),
  )
}
