/** How late a machine that is full lets a gateway be with what has its time: with answers, and with its disk. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Door } from './door.ts'

export interface Lateness {
  /** Looks once; rejects where nobody answers. */
  look(): Promise<void>
  /** The most so far, that of a look that has not ended among it, milliseconds. */
  most(): number
}

/** @param directory on the gateway's disk */
export function measureLateness(door: Door, directory: string): Lateness {
  let slowest = 0
  let since: number | undefined
  return {
    async look() {
      since = performance.now()
      await Promise.all([door.ask('GET', '/healthz'), sync(join(directory, 'lateness'))])
      slowest = Math.max(slowest, performance.now() - since)
      since = undefined
      await pause(15)
    },
    most: () => Math.max(slowest, since === undefined ? 0 : performance.now() - since),
  }
}

async function sync(file: string): Promise<void> {
  const handle = await open(file, 'w')
  try {
    await handle.write('.')
    await handle.sync()
  } finally {
    await handle.close()
  }
}
