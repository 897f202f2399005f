/**
 * What the admin's pages read and change, under `/sotto/admin/`: for the admin's devices and the gateway's own
 * machine. What changes something wants besides a recent confirmation, since an address alone is not enough for
 * it (`GET /sotto/me` tells); without one it is 403 `confirmation_required`. Errors are `Refusal`s.
 *
 * Things are named in paths as people name them, URL-encoded: names are unique. Dates are ISO 8601.
 */

/** `GET /sotto/me`: for every member. */
export interface Me {
  /** The device's name, or the gateway's own machine. */
  readonly name: string
  readonly person: string | null
  readonly tenant: string
  readonly admin: boolean
  /** Until when this browser may change things; null where it may not now. */
  readonly confirmedUntil: string | null
  /** Whether a password was set, by which one may confirm; a code of the gateway's machine always does. */
  readonly hasPassword: boolean
  /** What holds this device, and what is left of it. */
  readonly limits: readonly LimitStatus[]
}

/**
 * `POST /sotto/admin/confirmation` → 204 and a cookie, good on this device alone until twelve hours after its last
 * use; 403 `confirmation_wrong`, and 429 after five of them. `DELETE` ends it.
 */
export type Confirmation =
  /** Of `./sotto admin code`, good once, for ten minutes. */
  { readonly code: string } | { readonly password: string }

/** `PUT /sotto/admin/password` → 204; null takes it away. At least ten characters; other browsers are asked again. */
export interface NewPassword {
  readonly password: string | null
}

/** `GET /sotto/admin/overview`: what one looks at first. */
export interface Overview {
  readonly version: string
  readonly startedAt: string
  readonly origins: readonly string[]
  readonly fingerprint: string
  /** Of the certificate that the listener shows now. */
  readonly certificateExpiresAt: string
  readonly network: {
    readonly range4: string
    readonly range6: string
    readonly endpoint: string | null
    /** `kernel`, `wireguard-go`, …; null while there is no interface. */
    readonly implementation: string | null
  }
  readonly devices: { readonly online: number; readonly all: number }
  readonly today: { readonly requests: number; readonly refused: number; readonly tokens: number }
  readonly threats: number
  /** The newest first. */
  readonly troubles: readonly Trouble[]
}

/** What is wrong with the gateway's machine, or was within the last hour. */
export interface Trouble {
  readonly kind: 'disk_full' | 'disk_unwritable' | 'clock' | 'interface' | 'certificate'
  readonly since: string
  /** It is not any more: nothing need be done at once. */
  readonly over: boolean
  /** For the terminal. */
  readonly message: string
  /** The command or step that helps; empty where there is none. */
  readonly remedy: string
}

/** `GET /sotto/admin/people` */
export interface PeopleList {
  readonly tenants: readonly TenantStatus[]
}

export interface TenantStatus {
  readonly name: string
  readonly disabled: boolean
  /** The one that everybody is in at first stays. */
  readonly home: boolean
  readonly people: readonly PersonStatus[]
}

export interface PersonStatus {
  readonly name: string
  /** The gateway's admin. */
  readonly admin: boolean
  readonly devices: number
  readonly keys: number
  /** How they sign in without a device; null for who can't. `POST …/people/:name/invitation` lets them: `account.ts`. */
  readonly account: { readonly mail: string | null } | null
}

/**
 * `POST /sotto/admin/tenants {name}` → 201; `PATCH …/tenants/:name {disabled}`; `DELETE …/tenants/:name` (409 while
 * somebody is in it); `POST /sotto/admin/people {name, tenant?}` → 201; `PATCH …/people/:name {name?, tenant?}`;
 * `DELETE …/people/:name` (409 while devices or keys are theirs). Each answers with the `PeopleList` after it.
 */
export interface PersonChange {
  readonly name?: string
  readonly tenant?: string
}

/**
 * Devices are read at `GET /sotto/devices`. `POST /sotto/admin/devices` with this → 201 `NewDeviceAnswer`;
 * `PATCH …/devices/:name` with `DeviceChange`, `POST …/devices/:name/rotation` → `NewDeviceAnswer`,
 * `DELETE …/devices/:name` → 204 (its addresses are not given again for 30 days). 409
 * `own_device` for what would cut off the device that asks.
 */
export interface NewDeviceWish {
  readonly name: string
  /** Made where there is none of that name; left out, the admin. */
  readonly person?: string
  /** `config`: the gateway makes the key and shows it once; `link`: the device makes its own. */
  readonly by: 'config' | 'link'
  /** From when on it may speak no more. */
  readonly expiresAt?: string
  /** For a link: how long it may wait to be used; left out, a day. */
  readonly linkLifeMs?: number
}

export type NewDeviceAnswer =
  /** For `wg-quick` and the WireGuard app's QR code. Shown now or never. */
  | { readonly by: 'config'; readonly name: string; readonly config: string }
  | { readonly by: 'link'; readonly name: string; readonly link: LinkAnswer }

export interface LinkAnswer {
  /** The page that lets the device in, over the overlay: first `config` must be up on it. */
  readonly url: string
  /** The config of the link's own place on the overlay, for the WireGuard app. */
  readonly config: string
  /** The command for a Linux computer: `sudo ./sotto join '…'`. */
  readonly join: string
  readonly expiresAt: string
}

export interface DeviceChange {
  readonly name?: string
  readonly disabled?: boolean
  /** null: never. */
  readonly expiresAt?: string | null
}

/** `GET /sotto/admin/links`: those that wait to be used. `DELETE /sotto/admin/links/:name` → 204. */
export interface LinkList {
  readonly links: readonly { readonly name: string; readonly createdAt: string; readonly expiresAt: string }[]
}

/** `GET /sotto/admin/rules` → in their order. `POST` `{action, from, to}` → 201; `DELETE …/rules/:id` → 204. */
export interface RuleList {
  readonly rules: readonly RuleStatus[]
}

export interface RuleStatus {
  readonly id: number
  readonly action: 'allow' | 'deny'
  /** `all`, `gateway`, `host`, `person:Ada` or `device:Ada phone` */
  readonly from: string
  readonly to: string
}

/**
 * `GET /sotto/admin/keys`. `POST` with `NewKeyWish` → 201 `MadeKeyAnswer`; `POST …/keys/:name/rotation`
 * `{overlapMs?}` → `MadeKeyAnswer`; `PATCH …/keys/:name` with `KeyChange` → `KeyStatus`; `DELETE …/keys/:name` → 204.
 */
export interface KeyList {
  readonly keys: readonly KeyStatus[]
}

export interface KeyStatus {
  readonly name: string
  readonly person: string
  readonly state: 'active' | 'disabled' | 'expired'
  /** The first characters of each secret that is good now. */
  readonly prefixes: readonly string[]
  /** The one device that may use it; null for any. */
  readonly device: string | null
  readonly ranges: readonly string[] | null
  readonly services: readonly string[] | null
  readonly models: readonly string[] | null
  /** Its prompts are kept that long; null for never. */
  readonly promptLogMs: number | null
  readonly createdAt: string
  readonly expiresAt: string | null
  readonly lastUsedAt: string | null
  readonly lastAddress: string | null
  readonly requests: number
}

export interface NewKeyWish {
  readonly name: string
  readonly person?: string
  readonly device?: string
  readonly ranges?: readonly string[]
  readonly services?: readonly string[]
  readonly models?: readonly string[]
  readonly promptLogMs?: number
  readonly expiresAt?: string
}

export interface MadeKeyAnswer {
  readonly key: KeyStatus
  /** Shown now or never. */
  readonly secret: string
}

export interface KeyChange {
  readonly disabled?: boolean
  readonly expiresAt?: string | null
}

/** `GET /sotto/admin/limits`; `PATCH …/limits/:party` with a part of `Limits` → `LimitStatus` (null takes a part away). */
export interface LimitList {
  readonly limits: readonly LimitStatus[]
}

export interface Limits {
  /** Names of services; null for all. */
  readonly services: readonly string[] | null
  /** Names of models, where `*` stands for any text; null for all. */
  readonly models: readonly string[] | null
  readonly requestsPerMinute: number | null
  readonly tokensPerMinute: number | null
  /** Requests that are open at once. */
  readonly concurrent: number | null
  /** Budgets, input and output together. Days and months are UTC's. */
  readonly tokensPerDay: number | null
  readonly tokensPerMonth: number | null
  readonly tokensInTotal: number | null
}

export interface LimitStatus {
  /** `tenant:home`, `key:backup script` or `device:phone` */
  readonly party: string
  readonly limits: Limits
  /** Tokens spent, or on their way, in the day, the month and in all; counted only where a budget is set. */
  readonly spent: { readonly day: number; readonly month: number; readonly total: number }
}

/** `GET /sotto/admin/services` */
export interface ServiceList {
  readonly backends: readonly BackendStatus[]
  /** What listens, speaks and draws, and each service of the config. */
  readonly services: readonly ServiceStatus[]
  readonly aliases: Readonly<Record<string, string>>
}

export interface BackendStatus {
  readonly name: string
  readonly kind: 'ollama' | 'openai'
  /** Whose gateway it is: prompts to it leave the house; null for one of the house. */
  readonly friend: string | null
  readonly up: boolean
  /** What is wrong, in words for people; null where nothing is. */
  readonly problem: string | null
  readonly models: readonly string[]
  /** Those that are in memory now. */
  readonly loaded: readonly string[]
  readonly running: number
  readonly waiting: number
  readonly parallel: number
}

export interface ServiceStatus {
  readonly role: 'transcription' | 'speech' | 'images' | 'service'
  /** Its kind, or the name that the config gives it; `none` where nothing is there for the role. */
  readonly name: string
  /** Null where nobody asks it until it is used. */
  readonly up: boolean | null
  readonly problem: string | null
  readonly remedy: string | null
  readonly models: readonly string[]
}

/** `GET /sotto/admin/lenders`: machines that lend what they have, those that are away too. */
export interface LenderList {
  readonly lenders: readonly LenderStatus[]
}

export interface LenderStatus {
  readonly name: string
  readonly person: string
  /** The key by which it came. */
  readonly key: string
  readonly connected: boolean
  /** From which it came, or is connected. */
  readonly address: string
  /** Since when it is connected, or when it was last. */
  readonly at: string
  readonly firstAt: string
  /** `ollama`, `whisper`, and the names of further services. */
  readonly services: readonly string[]
  /** None where it is away. */
  readonly models: readonly string[]
  readonly loaded: readonly string[]
  readonly running: number
  readonly waiting: number
  readonly parallel: number
  readonly hardware: LenderHardware
}

export interface LenderHardware {
  /** For people: `Linux 6.8.0 x64` */
  readonly system: string
  readonly cpu: { readonly model: string; readonly cores: number }
  readonly memoryBytes: number
  /** A GPU that shares the machine’s memory has none of its own: null. */
  readonly gpus: readonly { readonly name: string; readonly memoryBytes: number | null }[]
}

/**
 * `GET /sotto/admin/grants`: what each friend may use of ours, and shares with us. `PUT …/grants/:friend` with
 * `{models}` → its `FriendStatus`. Its limits are those of its tenant: `…/limits/tenant:friend-NAME`.
 */
export interface GrantList {
  readonly friends: readonly FriendStatus[]
  /** Names of models that can be granted. */
  readonly models: readonly string[]
}

export interface FriendStatus {
  readonly name: string
  /** Whether each of us may ask the other now. */
  readonly connected: boolean
  /** Names of models that it may use, where `*` stands for any text; none that is not here. */
  readonly granted: readonly string[]
  /** Names of those of its models that we may use, as they are asked for. */
  readonly shared: readonly string[]
}

/** `GET /sotto/admin/usage?days=30`: one row a day and combination that was used. */
export interface UsageList {
  /** UTC, `2026-11-21`: the first day asked for. */
  readonly since: string
  readonly rows: readonly UsageRow[]
}

export interface UsageRow {
  readonly day: string
  readonly tenant: string
  readonly person: string
  readonly device: string
  readonly key: string
  readonly model: string
  readonly service: string
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
}

/**
 * `GET /sotto/admin/audit?before=NEXT&limit=100&since=ISO&key=&device=&person=&service=&denied=1`: the newest first.
 * `GET …/audit/export?…` is the same, whole, as CSV.
 */
export interface AuditList {
  readonly rows: readonly AuditRow[]
  /** Send it as `before` for those that follow; null where there are none. */
  readonly next: string | null
}

export interface AuditRow {
  readonly id: number
  readonly at: string
  readonly requestId: string
  readonly tenant: string | null
  readonly person: string | null
  readonly device: string | null
  readonly key: string | null
  readonly address: string
  readonly method: string
  readonly path: string
  readonly service: string | null
  readonly model: string | null
  readonly backend: string | null
  readonly status: number
  readonly refusal: string | null
  readonly inputTokens: number
  readonly outputTokens: number
  readonly queuedMs: number
  readonly firstByteMs: number | null
  readonly durationMs: number
  readonly ended: string
}

/** `GET /sotto/admin/threats?days=7`: the newest first. */
export interface ThreatList {
  readonly threats: readonly ThreatStatus[]
}

export interface ThreatStatus {
  readonly kind: 'failures' | 'new_address' | 'two_places' | 'path_scan' | 'budget_probing' | 'odd_hours'
  readonly at: string
  readonly who: string
  readonly why: string
  /**
   * What `why` is made of, for those who say it in another language: `count` of `failures`, `path_scan` and
   * `budget_probing`, `address` of `new_address`, `address` and `other` of `two_places`, `hour` and `days` of
   * `odd_hours`.
   */
  readonly facts: Readonly<Record<string, string | number>>
  /** Which command acts on it. */
  readonly command: string
  /** Whose requests show it; null where there is none of that name. */
  readonly person: string | null
  readonly device: string | null
  readonly key: string | null
  readonly address: string
}

/**
 * `GET /sotto/admin/relays`: meshes on our relay, and those that we joined. `POST …/relays/invitations` with a name →
 * 201 `InvitationAnswer`; `POST …/relays/joined` with a `JoinWish` → 201; `DELETE …/relays/:name` → 204, of a friend,
 * a mesh or an invitation.
 */
export interface RelayList {
  /** Who we are to others. */
  readonly self: { readonly meshId: string; readonly name: string }
  /** Where our relay is reached: `wss://…` */
  readonly addresses: readonly string[]
  readonly meshes: readonly MeshStatus[]
  readonly joined: readonly JoinedStatus[]
  /** Those that wait to be used. */
  readonly invitations: readonly { readonly name: string; readonly expiresAt: string }[]
}

export interface MeshStatus {
  readonly name: string
  readonly meshId: string
  /** Whether it is a gateway of our kind. */
  readonly friend: boolean
  readonly connected: boolean
  readonly rooms: readonly string[]
  /** That it sent within this minute. */
  readonly messages: number
  /** Messages of ours that wait for it. */
  readonly waiting: number
  /** From which it came last; null where it never did. */
  readonly address: string | null
  /** Since when it is connected, or when it was last; null where it never was. */
  readonly at: string | null
  readonly createdAt: string
}

export interface JoinedStatus {
  readonly name: string
  readonly url: string
  /** `refused`: it does not know us, or no more. */
  readonly state: 'connecting' | 'connected' | 'waiting' | 'refused'
  /** Since when it is connected. */
  readonly since: string | null
  /** What went wrong since; null where nothing did. */
  readonly lastError: string | null
  /** Messages of ours that wait for it. */
  readonly waiting: number
  readonly createdAt: string
}

export interface InvitationAnswer {
  readonly name: string
  /** Shown now or never. */
  readonly code: string
  readonly expiresAt: string
}

export interface JoinWish {
  readonly url: string
  readonly name: string
  /** The code of an invitation. */
  readonly code: string
}
