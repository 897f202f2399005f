/** Who is asking: the overlay's source address is the identity, since WireGuard proves it; a key narrows it. */
import type { Allowance } from '@sotto/provisioning/registry/allowance.ts'
import type { Key } from '@sotto/provisioning/registry/key.ts'
import type { Tenant } from '@sotto/provisioning/registry/tenant.ts'

export type Caller = Member | Guest

export interface Member {
  /** `host` is the gateway's own machine: loopback, or the hub's own overlay address. */
  readonly kind: 'device' | 'host'
  /** For people: the device's name; empty for a stranger's. */
  readonly name: string
  /** Registry ids of the device and of its person, or its key's; undefined for the host. */
  readonly deviceId?: string
  readonly personId?: string
  readonly person?: string
  readonly tenant: Tenant
  /** The key that it sent; without one the device speaks for itself. */
  readonly key?: Pick<Key, 'id' | 'name' | 'promptLogMs'>
  /** Whether it may do what only the admin may: this machine, or the admin's device without a key. */
  readonly admin: boolean
  /** What holds it: its key's or device's allowance, and its tenant's. */
  readonly held: readonly Held[]
}

export interface Held extends Allowance {
  /** `tenant:ID`, `key:ID` or `device:ID` */
  readonly subject: string
  /** For people: `tenant home` */
  readonly label: string
}

/** At a one-time link's place: may enrol, and nothing else. */
export interface Guest {
  readonly kind: 'guest'
  /** What the device will be called. */
  readonly name: string
  readonly deviceId?: undefined
  readonly personId?: undefined
}

/** Who it is where several wait for their turn. */
export function queuesAs({ key, deviceId }: Member): string {
  return key?.id ?? deviceId ?? 'host'
}

/** Whose conversations it has: its person's, or its key's; the gateway's own machine has its own. */
export function ownerOf({ personId }: Member): string {
  return personId ?? 'host'
}

/** The allowances of these subjects that hold anything. */
export function heldBy(
  allowances: ReadonlyMap<string, Allowance>,
  ...subjects: readonly { readonly subject: string; readonly label: string }[]
): Held[] {
  return subjects.flatMap((one) => {
    const allowance = allowances.get(one.subject)
    return allowance ? [{ ...allowance, ...one }] : []
  })
}
