/** The source address is the identity: WireGuard proves which peer sent a packet, so an address is a device. */
import { hubAddresses } from '@sotto/provisioning/overlay/addresses.ts'
import type { Plan } from '@sotto/provisioning/overlay/plan.ts'
import type { Access } from '@sotto/provisioning/registry/access.ts'
import type { Network } from '@sotto/provisioning/registry/network.ts'
import { homeTenant } from '@sotto/provisioning/registry/tenant.ts'
import ipaddr from 'ipaddr.js'
import { heldBy, type Caller, type Member } from './caller.ts'

export interface Directory {
  /** The caller at a socket's remote address; undefined for a stranger. */
  identify(remoteAddress: string | undefined): Caller | undefined
  /** Takes up who may speak now; returns the addresses that lost whom they had. */
  update(plan: Pick<Plan, 'devices' | 'links'>, access?: Access): string[]
}

const nobodyElse: Access = {
  keys: [],
  tenants: new Map(),
  host: { ...homeTenant, disabledAt: null },
  admin: undefined,
  allowances: new Map(),
  until: Infinity,
}

/** Before the first `update` the gateway's own machine alone is known. */
export function createDirectory(network: Network): Directory {
  const { address4, address6 } = hubAddresses(network)
  // Loopback and the hub's own address: the kernel lets neither come in from outside.
  const hostAddresses = [address4, address6, '127.0.0.1', '::1'].map(normal)
  const hosts = (access: Access) => {
    const host: Member = {
      kind: 'host',
      name: 'this machine',
      tenant: access.host,
      admin: true,
      held: heldBy(access.allowances, tenantOf(access.host)),
    }
    return hostAddresses.map((address): [string, Caller] => [address, host])
  }
  let callers: ReadonlyMap<string, Caller> = new Map(hosts(nobodyElse))
  return {
    identify: (address) =>
      address === undefined ? undefined : (callers.get(address) ?? callers.get(normal(address))),
    update({ devices, links }, access = nobodyElse) {
      const before = callers
      const known = [
        ...links.map((link) => ({ ...link, caller: { kind: 'guest', name: link.name } as const })),
        ...devices.map((device) => ({ ...device, caller: memberOf(device, access) })),
      ]
      const entries = known.flatMap((one): [string, Caller][] =>
        [one.address4, one.address6].map((address) => [normal(address), one.caller]),
      )
      callers = new Map([...hosts(access), ...entries])
      return [...before]
        .filter(([at, { kind, deviceId }]) => {
          const now = callers.get(at)
          return now?.kind !== kind || now.deviceId !== deviceId
        })
        .map(([at]) => at)
    },
  }
}

function memberOf(device: Plan['devices'][number], access: Access): Member {
  const tenant = access.tenants.get(device.personId) ?? access.host
  return {
    kind: 'device',
    name: device.name,
    deviceId: device.id,
    personId: device.personId,
    person: device.person,
    tenant,
    admin: device.personId === access.admin,
    held: heldBy(
      access.allowances,
      { subject: `device:${device.id}`, label: `device “${device.name}”` },
      tenantOf(tenant),
    ),
  }
}

/** A tenant, as what holds its callers. */
export function tenantOf({ id, name }: { readonly id: string; readonly name: string }) {
  return { subject: `tenant:${id}`, label: `tenant “${name}”` }
}

/** One spelling for each address; IPv4 also where a dual-stack socket shows it as `::ffff:a.b.c.d`. */
export function normal(address: string): string {
  const known = spellings.get(address)
  if (known !== undefined) return known
  const spelled = ipaddr.isValid(address) ? ipaddr.process(address).toString() : address
  if (spellings.size >= maxSpellings) spellings.clear()
  spellings.set(address, spelled)
  return spelled
}

/** From where a stranger comes, as one can tell them apart: of IPv6 each has a network of addresses. */
export function networkOf(remoteAddress: string | undefined): string {
  const address = normal(remoteAddress ?? '')
  return ipaddr.IPv6.isValid(address) ? ipaddr.IPv6.parse(address).parts.slice(0, 4).join(':') : address
}

/** Each request asks for its own, and there are as many as devices. */
const spellings = new Map<string, string>()
const maxSpellings = 10_000
