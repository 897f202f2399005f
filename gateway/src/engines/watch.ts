/** How engines are looked after: how often one is asked who it is, and when it counts as gone. */
import { setTimeout as pause } from 'node:timers/promises'
import { Failure, type FailureCode } from '../failure.ts'

/** A person who starts an engine while the page is open sees it taken up at once. */
export const lookEveryMs = 2_000
/** An engine that takes longer to say who it is than this is looked at again later. */
const probeTimeoutMs = 1_500
/** So often it is seen whether this process runs. */
const beatMs = 50

export interface Patience {
  answered(): void
  /** Whether what went wrong may only be a machine at full load. */
  bears(error: unknown): boolean
  /** It is known to be gone: the next thing that goes wrong is borne no more. */
  lose(): void
}

/**
 * A machine at full load answers late, or that it is busy: an engine is gone after three such answers.
 *
 * @param busy what an engine that says so fails with
 */
export function createPatience(busy: FailureCode): Patience {
  let late = Infinity
  return {
    answered() {
      late = 0
    },
    bears(error) {
      const slow = error instanceof Failure ? error.code === busy : isTimeout(error)
      late += slow ? 1 : Infinity
      return late < 3
    },
    lose() {
      late = Infinity
    },
  }
}

/**
 * Asks an engine who it is, within {@link probeTimeoutMs} of what this process had of time: while a full machine or
 * work of its own holds it up, no answer is read, and the engine is not to blame.
 */
export async function probing<T>(stop: AbortSignal, probe: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController()
  let left = probeTimeoutMs
  let seen = performance.now()
  const beat = setInterval(() => {
    const now = performance.now()
    left -= Math.min(now - seen, 2 * beatMs)
    seen = now
    if (left <= 0) late.abort(new DOMException('It took too long to say who it is.', 'TimeoutError'))
  }, beatMs).unref()
  try {
    return await probe(AbortSignal.any([stop, late.signal]))
  } finally {
    clearInterval(beat)
  }
}

/** False when the signal ended the sleep. */
export async function sleeps(ms: number, signal: AbortSignal): Promise<boolean> {
  return pause(ms, true, { signal, ref: false }).catch(() => false)
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError'
}
