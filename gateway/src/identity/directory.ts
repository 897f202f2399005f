/** The source address is the identity: WireGuard proves which peer sent a packet, so an address is a device. */
import { hubAddresses } from '@sotto/provisioning/overlay/addresses.ts'
import type { Plan } from '@sotto/provisioning/overlay/plan.ts'
import type { Network } from '@sotto/provisioning/registry/network.ts'
import ipaddr from 'ipaddr.js'
import type { Caller } from './caller.ts'

export interface Directory {
  /** The caller at a socket's remote address; undefined for a stranger. */
  identify(remoteAddress: string | undefined): Caller | undefined
  /** Takes up who may speak now; returns the addresses that lost whom they had. */
  update(plan: Pick<Plan, 'devices' | 'links'>): string[]
}

/** Before the first `update` the gateway's own machine alone is known. */
export function createDirectory(network: Network): Directory {
  const { address4, address6 } = hubAddresses(network)
  // Loopback and the hub's own address: the kernel lets neither come in from outside.
  const host: Caller = { kind: 'host', name: 'this machine' }
  const hosts = new Map([address4, address6, '127.0.0.1', '::1'].map((address) => [normal(address), host]))
  let callers: ReadonlyMap<string, Caller> = hosts
  return {
    identify: (address) => (address === undefined ? undefined : callers.get(normal(address))),
    update({ devices, links }) {
      const before = callers
      const known = [
        ...links.map((link) => ({ ...link, caller: { kind: 'guest', name: link.name } as const })),
        ...devices.map((device) => ({
          ...device,
          caller: {
            kind: 'device',
            name: device.name,
            deviceId: device.id,
            personId: device.personId,
          } as const,
        })),
      ]
      const entries = known.flatMap((one): [string, Caller][] =>
        [one.address4, one.address6].map((address) => [normal(address), one.caller]),
      )
      callers = new Map([...hosts, ...entries])
      return [...before]
        .filter(([at, { kind, deviceId }]) => {
          const now = callers.get(at)
          return now?.kind !== kind || now.deviceId !== deviceId
        })
        .map(([at]) => at)
    },
  }
}

/** One spelling for each address; IPv4 also where a dual-stack socket shows it as `::ffff:a.b.c.d`. */
export function normal(address: string): string {
  return ipaddr.isValid(address) ? ipaddr.process(address).toString() : address
}
