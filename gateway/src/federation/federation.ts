/**
 * Gateways of others that we are in touch with, and what is sent between us: in order, once, however long the other
 * side is away.
 */

/**
 * A gateway of somebody else that we are in touch with: one that joined our relay, or one whose relay we joined, or
 * another member there.
 */
export interface Peer {
  readonly meshId: string
  readonly name: string
  readonly connected: boolean
  readonly rooms: readonly string[]
}

export interface Federation {
  readonly self: { readonly meshId: string; readonly name: string }
  readonly peers: readonly Peer[]
  /** Called after any change of peers; gives the way to stop. */
  watch(listener: () => void): () => void
  /**
   * Kept on disk before it resolves; delivered in order, once, however long the other side is away. `kind` says
   * whose it is ('room', …). At most 8 KiB of JSON. Throws a Failure where there is no such peer or its outbox is
   * full.
   */
  send(meshId: string, kind: string, message: unknown): Promise<void>
  /**
   * What comes, in order and once; what throws comes again. So does what was taken in the very moment in which the
   * process was killed, with the same `id`: who keeps that beside what it did takes nothing twice.
   */
  receive(kind: string, take: (from: Peer, message: unknown, id: string) => Promise<void>): void
  /** What others see of us by `gateway_discover`. */
  announce(rooms: readonly string[]): void
}
