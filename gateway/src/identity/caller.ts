/** Who is asking: the overlay's source address is the identity, since WireGuard proves it. */
export type Caller = Member | Guest

export interface Member {
  /** `host` is the gateway's own machine: loopback, or the hub's own overlay address. */
  readonly kind: 'device' | 'host'
  /** For people: the device's name. */
  readonly name: string
  /** Registry ids of the device and of its person; undefined for the host. */
  readonly deviceId?: string
  readonly personId?: string
}

/** At a one-time link's place: may enrol, and nothing else. */
export interface Guest {
  readonly kind: 'guest'
  /** What the device will be called. */
  readonly name: string
  readonly deviceId?: undefined
  readonly personId?: undefined
}
