/** A tunnel that is dialled again whenever it is over, until it is stopped. */
import { setTimeout as pause } from 'node:timers/promises'
import { createBackoff } from '#tunnel/backoff.ts'
import { Refused } from '#tunnel/dial.ts'
import type { Link } from '#tunnel/link.ts'
import { closeCodes } from '#tunnel/protocol.ts'

export interface Dialling {
  stop(): void
}

/** Who was refused, or had its place taken, does not wrestle for it. */
const refusedWaitMs = 30_000

/**
 * @param opened called with each that is open
 * @param failed called where attempts come to nothing, once for each reason
 */
export function keepDialled(
  dial: (signal: AbortSignal) => Promise<Link>,
  opened: (link: Link) => void,
  failed: (error: unknown) => void,
): Dialling {
  const stop = new AbortController()
  const backoff = createBackoff()
  let told = ''
  const tell = (error: unknown): void => {
    const reason = error instanceof Error ? error.message : String(error)
    if (reason !== told) failed(error)
    told = reason
  }
  const once = async (): Promise<number> => {
    try {
      const link = await dial(stop.signal)
      if (stop.signal.aborted) link.close(1000, '')
      else opened(link)
      backoff.reset()
      told = ''
      const { code } = await link.closed
      return code === closeCodes.replaced ? refusedWaitMs : backoff.next()
    } catch (error) {
      if (!stop.signal.aborted) tell(error)
      return error instanceof Refused && error.status < 500 && error.status !== 429
        ? refusedWaitMs
        : backoff.next()
    }
  }
  void (async () => {
    while (!stop.signal.aborted) {
      const waitMs = await once()
      await pause(waitMs, undefined, { signal: stop.signal, ref: false }).catch(() => {})
    }
  })()
  return { stop: () => stop.abort() }
}
