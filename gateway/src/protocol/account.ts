/**
 * Accounts, under `/sotto/account`: how a person signs in who has no device of the overlay at hand, and what is
 * theirs. A session is a cookie of the gateway's own origin, of use here alone. What changes something wants JSON
 * and an `Origin` of the gateway's own; what could take the account over wants besides that its person showed
 * within a quarter of an hour who they are: without, it is 403 `proof_required`. Errors are `Refusal`s.
 */
import type { KeyStatus, LenderStatus, LimitStatus, UsageRow } from './admin.ts'

/** `GET /sotto/account`: for everybody. */
export interface AccountHere {
  /** Who is signed in here; null for nobody. */
  readonly person: string | null
  /** Whether one may make an account by oneself. */
  readonly signUp: boolean
  /** Domains of the mail addresses that may; null for all. */
  readonly domains: readonly string[] | null
  /** Whether a new password can be asked for by mail. */
  readonly reset: boolean
  /** Passkeys are of host names: at an address, browsers have none. */
  readonly passkeys: boolean
}

/**
 * `POST /sotto/account/session` → 204 and a cookie; 403 `sign_in_wrong` whatever was wrong, 429 with `Retry-After`
 * where too much was. `DELETE` signs out. `POST …/proof` with the same shows again who one is.
 */
export type SignIn =
  /** `who`: a mail address, or a name here. */
  | { readonly who: string; readonly password: string }
  /** What `POST /sotto/account/passkey-options` asked for. */
  | { readonly passkey: PasskeyAnswer }

/** `POST …/proof` */
export type Proof = { readonly password: string } | { readonly passkey: PasskeyAnswer }

/** What the browser is asked for, by WebAuthn's JSON, and the name of the question. */
export interface PasskeyQuestion {
  readonly id: string
  readonly options: object
}

export interface PasskeyAnswer {
  readonly id: string
  readonly response: object
}

/** `POST /sotto/account/sign-up` and `POST …/reset` → 202, whether the address is known or not: mail tells the rest. */
export interface MailWish {
  readonly mail: string
  readonly language?: 'en' | 'de'
}

/** `POST /sotto/account/link {token}` → what a one-time link is for; 404, or 409 where it was used. */
export interface AccountLinkStatus {
  readonly kind: 'invitation' | 'sign-up' | 'reset' | 'mail'
  /** Null for one who chooses a name. */
  readonly person: string | null
  readonly mail: string | null
  readonly expiresAt: string
}

/** `POST /sotto/account/link/use` → 204 and signed in. `POST …/link/passkey-options {token, name?}` → `PasskeyQuestion`. */
export interface AccountLinkUse {
  readonly token: string
  /** For a sign-up. */
  readonly name?: string
  readonly password?: string
  readonly passkey?: PasskeyAnswer & { readonly name: string }
}

/** `GET /sotto/account/me`: of who is signed in, as everything below; else 401 `signed_out`. */
export interface Account {
  readonly person: string
  readonly tenant: string
  readonly mail: string | null
  readonly hasPassword: boolean
  readonly createdAt: string
  /** Until when what wants a proof goes on without another; null where it wants one. */
  readonly provenUntil: string | null
  readonly passkeys: readonly PasskeyStatus[]
  readonly sessions: readonly SessionStatus[]
  /** What holds all that is theirs, and what is left of it. */
  readonly limits: readonly LimitStatus[]
  /** What a key may be for: what the tenant may use, and `lend` among it where that may be. */
  readonly services: readonly string[]
  readonly models: readonly string[]
  /** Whether programs ask models at this very address; elsewhere they need the overlay. */
  readonly programs: boolean
  /** Where lenders dial: they trust it by `GET /sotto/account/ca.crt`. */
  readonly lendTo: string
  /** How many devices of the overlay are theirs: with one they stay a person here when the account goes. */
  readonly devices: number
}

export interface PasskeyStatus {
  readonly id: string
  readonly name: string
  /** The host at which it is of use. */
  readonly host: string
  readonly createdAt: string
  readonly usedAt: string | null
}

export interface SessionStatus {
  readonly id: string
  readonly current: boolean
  readonly address: string
  readonly agent: string
  readonly createdAt: string
  readonly usedAt: string
}

/**
 * `GET /sotto/account/keys`; `POST` with `OwnKeyWish` → 201 `MadeOwnKey`; `POST …/keys/:name/rotation {overlapMs?}`
 * → `MadeOwnKey`; `DELETE …/keys/:name` → 204.
 */
export interface OwnKeys {
  readonly keys: readonly KeyStatus[]
}

export interface OwnKeyWish {
  readonly name: string
  /** At least one, of `services` of the account. */
  readonly services: readonly string[]
  readonly models?: readonly string[]
  readonly expiresAt?: string
}

export interface MadeOwnKey {
  readonly key: KeyStatus
  /** Shown now or never. */
  readonly secret: string
}

/** `GET /sotto/account/lenders` */
export interface OwnLenders {
  readonly lenders: readonly LenderStatus[]
}

/** `GET /sotto/account/usage?days=30` */
export interface OwnUsage {
  readonly since: string
  readonly rows: readonly UsageRow[]
}

/**
 * `PUT /sotto/account/password {password}` → 204, other sessions end; `PUT …/mail {mail}` → 202, a link goes to the
 * new address; `POST …/passkeys/options` → `PasskeyQuestion`, `POST …/passkeys {id, response, name}` → 204,
 * `DELETE …/passkeys/:id` → 204; `DELETE …/sessions/:id` and `DELETE …/sessions` (all others) → 204;
 * `GET …/export` → all of it as a file; `DELETE /sotto/account/me` → 204, and nothing of it is left.
 */

/** `POST /sotto/admin/people/:name/invitation {mail?, language?}` */
export type Invitation =
  /** Shown once. */
  { readonly url: string; readonly expiresAt: string } | { readonly mailed: string }

/** `GET /sotto/admin/mails`: what became of mails, the newest first. */
export interface MailList {
  /** Whether the config says how mail is sent. */
  readonly configured: boolean
  readonly mails: readonly MailStatus[]
}

export interface MailStatus {
  readonly kind: 'invitation' | 'sign-up' | 'known' | 'reset' | 'mail'
  readonly recipient: string
  readonly person: string | null
  readonly state: 'waiting' | 'sent' | 'failed'
  readonly at: string
  readonly tries: number
  /** When it is tried again. */
  readonly nextAt: string | null
  readonly error: string | null
}
