/** What the account's routes stand on. */
import type { Admission } from '#admission/admission.ts'
import type { Passkeys } from '#accounts/passkeys.ts'
import type { Passwords } from '#accounts/passwords.ts'
import type { Slowing } from '#accounts/slowing.ts'
import type { Conversations } from '#conversations/conversations.ts'
import type { Engines } from '#engines/engine.ts'
import type { Ledger } from '#ledger/ledger.ts'
import type { Reports } from '#ledger/reports.ts'
import type { LendersDeps } from '../admin/lenders.ts'
import type { LimitsDeps } from '../admin/limits.ts'

export interface AccountsConfig {
  readonly signUp: boolean
  /** Of mail addresses; undefined for all. */
  readonly domains?: readonly string[] | undefined
  /** To which those belong who sign up. */
  readonly tenant: string
  /** Whether there is a way to send mail. */
  readonly mail: boolean
}

/** What one process has once, however many listeners serve accounts: guesses count together. */
export interface Guards {
  /** By where they come from. */
  readonly places: Slowing
  /** By the account that is guessed at. */
  readonly names: Slowing
  readonly passwords: Passwords
  readonly passkeys: Passkeys
}

export interface AccountDeps extends LendersDeps, Pick<LimitsDeps, 'spent' | 'follow'> {
  readonly accounts: AccountsConfig
  readonly guards: Guards
  readonly admission: Pick<Admission, 'mayUse'>
  readonly engines: Pick<Engines, 'pool'>
  readonly forget: Ledger['forget']
  readonly reports: Pick<Reports, 'usage' | 'keyUses' | 'audit'>
  readonly conversations: Pick<Conversations, 'list' | 'read' | 'delete'>
  /** Names of the config’s services. */
  readonly services: readonly { readonly name: string }[]
  /** Whether models are served at the same address. */
  readonly programs: boolean
  /** Where lenders dial: the listener for them; undefined for the page’s own address. */
  readonly lendTo: string | undefined
  /** The authority of that address, PEM. */
  ca(): Promise<string>
}
