/** Time, so that a day of it can pass in a test at once. */

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number
  /** Milliseconds by a clock that nobody sets: durations go by it. */
  elapsed(): number
  /** Runs the task once, so many milliseconds from now, unless what it returns is called before. */
  after(ms: number, task: () => void): () => void
}

/** Its timers keep no process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(ms, task) {
    const timer = setTimeout(task, ms)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
