/** Who is asking: the overlay's source address is the identity, since WireGuard proves it. */
export interface Caller {
  /** `host` is the gateway's own machine: loopback, or the hub's own overlay address. */
  readonly kind: 'device' | 'host'
  /** For people: the device's name. */
  readonly name: string
  /** Registry id of the device; undefined for the host. */
  readonly deviceId?: string
}
