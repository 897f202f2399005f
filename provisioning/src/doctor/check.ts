/** What a check of `sotto doctor` is, and what it finds. */
import type { Database } from '../database.ts'
import type { Network } from '#registry/network.ts'
import type { State } from '../state.ts'

export interface Finding {
  /** `skipped`: what it would look at is not there, and another check says so. */
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped'
  readonly message: string
  /** The command or step that mends it. */
  readonly remedy?: string
}

export interface Context {
  readonly state: State
  readonly database: Database
  readonly network: Network
  /** Addresses of the engines: http://host:port. */
  readonly ollama: string
  readonly whisper: string | undefined
  readonly now: Date
}

export interface Check {
  /** Stable: scripts look for it. */
  readonly code: string
  /** For people. */
  readonly name: string
  run(context: Context): Promise<Finding>
}

export type Diagnosis = Finding & Pick<Check, 'code' | 'name'>

export const ok = (message: string): Finding => ({ status: 'ok', message })
export const skipped = (message: string): Finding => ({ status: 'skipped', message })
export const warning = (message: string, remedy: string): Finding => ({ status: 'warning', message, remedy })
export const failed = (message: string, remedy: string): Finding => ({ status: 'failed', message, remedy })

export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
