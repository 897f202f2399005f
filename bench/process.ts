/** What a process says first, and what it costs. */
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { ResultPromise } from 'execa'
import { z } from 'zod'

/** Milliseconds of CPU, all threads together; the kernel counts in hundredths of a second. */
export async function cpuOf(pids: readonly number[]): Promise<number> {
  let ticks = 0
  for (const pid of pids) {
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks * 10
}

/** Bytes, as `memory.mjs` in each process says. */
export async function keptBy(pids: readonly number[]): Promise<number> {
  let sum = 0
  for (const pid of pids) sum += (await lookAt(pid)).kept
  return sum
}

/** What `memory.mjs` in the process says. */
export async function lookAt(pid: number): Promise<z.infer<typeof looks>> {
  const file = join(process.env.SOTTO_BENCH_MEMORY ?? '', `${pid}.json`)
  await rm(file, { force: true })
  process.kill(pid, 'SIGUSR2')
  while (!existsSync(file)) await pause(20)
  await pause(20)
  return looks.parse(JSON.parse(await readFile(file, 'utf8')))
}

const looks = z.object({
  /** Bytes. */
  kept: z.number(),
  rss: z.number(),
  /** Objects, and what V8 made of the program. */
  heap: z.number(),
  code: z.number(),
  external: z.number(),
  /** Sockets, timers, files. */
  open: z.number(),
  /** Of its event loop since the last look, ms. */
  late: z.object({ p50: z.number(), p99: z.number(), most: z.number() }).optional(),
})

export async function firstLine(child: ResultPromise): Promise<string> {
  for await (const line of child.stdout ?? []) return String(line).trim()
  throw new Error('the upstream did not start')
}
