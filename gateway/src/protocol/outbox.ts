/**
 * What was sent and may be lost: kept until the other side says that it came, so that a connection that breaks
 * loses nothing. Both ends of `realtime.sotto.v1` have one. No Node imports: the browser reads this file too.
 */

export interface Outbox<Message> {
  /** Bytes kept. */
  readonly bytes: number
  /** False where more is kept than may be: what comes after can't be made good. */
  keep(message: Message, bytes: number): boolean
  /** The other side has had this many, counted from the session's beginning. */
  acknowledge(received: number): void
  /** What the other side has not had, in order; undefined where some of it is gone. */
  after(received: number): readonly Message[] | undefined
}

/** @param maxBytes kept at most */
export function createOutbox<Message>(maxBytes: number): Outbox<Message> {
  let kept: { readonly message: Message; readonly bytes: number }[] = []
  /** How many were sent before the first that is kept. */
  let gone = 0
  let bytes = 0
  const forget = (count: number): void => {
    for (const one of kept.splice(0, count)) bytes -= one.bytes
    gone += count
  }
  return {
    get bytes() {
      return bytes
    },
    keep(message, size) {
      kept.push({ message, bytes: size })
      bytes += size
      if (bytes <= maxBytes) return true
      forget(kept.length)
      return false
    },
    acknowledge(received) {
      if (received > gone) forget(Math.min(received - gone, kept.length))
    },
    after(received) {
      if (received < gone || received > gone + kept.length) return undefined
      return kept.slice(received - gone).map(({ message }) => message)
    },
  }
}
