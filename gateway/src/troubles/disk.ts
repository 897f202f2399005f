/** Watches the disk of the state, so that the admin learns of one that takes nothing, and that it does again. */
import { setTimeout as pause } from 'node:timers/promises'
import { diskProblem, lookAtDisk, type DiskFault } from '@sotto/provisioning/disk.ts'
import type { Troubles } from './troubles.ts'

export interface DiskWatch {
  readonly directory: string
  /** Whether what was written last is on the disk. */
  healthy(): boolean
  readonly troubles: Troubles
  /** For people, one line. */
  notice(text: string): void
}

const lookEveryMs = 2_000
/** Of a disk that seems well: a look writes. */
const probeEveryMs = 60_000
const faults = ['full', 'unwritable'] as const satisfies readonly DiskFault[]

/** Returns what ends it. */
export function watchDisk({ directory, healthy, troubles, notice }: DiskWatch): () => Promise<void> {
  const stop = new AbortController()
  let fault: DiskFault | undefined
  let probedAt = -Infinity
  const look = async (): Promise<void> => {
    if (!fault && healthy() && performance.now() - probedAt < probeEveryMs) return
    probedAt = performance.now()
    const before = fault
    ;({ fault } = await lookAtDisk(directory))
    for (const other of faults) if (other !== fault) troubles.end(`disk_${other}`)
    if (fault) {
      const problem = diskProblem(directory, fault)
      if (troubles.begin(`disk_${fault}`, problem)) notice(`${problem.message} → ${problem.remedy}`)
    } else if (before) notice(`The disk of ${directory} takes what is written again.`)
  }
  const watching = (async () => {
    while (!stop.signal.aborted) {
      // A directory that can't be looked at is tried again.
      await look().catch(() => {})
      await pause(lookEveryMs, undefined, { signal: stop.signal, ref: false }).catch(() => {})
    }
  })()
  return async () => {
    stop.abort()
    await watching
  }
}
