/** Where a running gateway says that it runs, and at which addresses; commands beside it read it. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isServed, type State } from '@sotto/provisioning/state.ts'
import writeFileAtomic from 'write-file-atomic'
import { z } from 'zod'

const schema = z.object({
  origins: z.array(z.string()).readonly(),
  /** Where its relay is reached. */
  relay: z.array(z.string()).readonly().default([]),
  /** Where people sign in who are not on the overlay. */
  accounts: z.string().optional(),
  /** Whether it sends mail. */
  mail: z.boolean().default(false),
})
export type Running = z.infer<typeof schema>

/** Resolves to what takes it back. */
export async function announce(state: State, running: Running): Promise<() => Promise<void>> {
  const text = JSON.stringify({ pid: process.pid, ...running })
  await writeFileAtomic(placeOf(state), `${text}\n`, { mode: 0o600 })
  // Where it has to stay nobody believes it: it counts while the state is locked.
  return () => rm(placeOf(state), { force: true }).catch(() => {})
}

/** Undefined where none runs. */
export async function readRunning(state: State): Promise<Running | undefined> {
  // Whatever a crash left in the file.
  if (!isServed(state)) return undefined
  const text = await readFile(placeOf(state), 'utf8').catch(() => '')
  const read = schema.safeParse(text && JSON.parse(text))
  return read.success ? read.data : { origins: [], relay: [], mail: false }
}

function placeOf(state: State): string {
  return join(state.directory, 'running.json')
}
