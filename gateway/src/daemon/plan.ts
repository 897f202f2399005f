/** A program as a service of the machine: the files that make it one, and the commands that start and stop it. */
import { chmod, mkdir, rm } from 'node:fs/promises'
import { homedir, platform } from 'node:os'
import { dirname } from 'node:path'
import { execa } from 'execa'
import writeFileAtomic from 'write-file-atomic'

export interface ServiceFile {
  /** Absolute. */
  readonly path: string
  readonly text: string
  readonly mode: number
}

export interface ServicePlan {
  readonly files: readonly ServiceFile[]
  /** That start it, each with its arguments; what fails is said. */
  readonly start: readonly (readonly string[])[]
  readonly stop: readonly (readonly string[])[]
  /** For people, where they do it themselves. */
  readonly byHand: string | undefined
}

/** Writes and starts it. Resolves to what did not go, in words. */
export async function installService(plan: Pick<ServicePlan, 'files' | 'start'>): Promise<string[]> {
  for (const { path, text, mode } of plan.files) {
    await mkdir(dirname(path), { recursive: true })
    await writeFileAtomic(path, text, { mode })
    await chmod(path, mode)
  }
  return runAll(plan.start)
}

export async function uninstallService(plan: Pick<ServicePlan, 'files' | 'stop'>): Promise<string[]> {
  const failures = await runAll(plan.stop)
  for (const { path } of plan.files) await rm(path, { force: true })
  return failures
}

/** Resolves to what did not go, in words. */
export async function runAll(commands: readonly (readonly string[])[]): Promise<string[]> {
  const failures: string[] = []
  for (const [file = '', ...args] of commands) {
    const { exitCode, stderr } = await execa(file, args, { reject: false, timeout: 240_000, stdin: 'ignore' })
    // launchd says so of what was not there yet.
    if (exitCode !== 0 && args[0] !== 'unload')
      failures.push(`${[file, ...args].join(' ')}: ${(stderr ?? '').trim().split('\n')[0] || 'it failed'}`)
  }
  return failures
}

/** Who and where we are. */
export function here(): { readonly system: NodeJS.Platform; readonly root: boolean; readonly home: string } {
  return { system: platform(), root: process.getuid?.() === 0, home: homedir() }
}
