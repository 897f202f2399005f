/** What in the audit an admin should look at: each finding says why, and which command acts on it. Pure. */
import type { AuditTable, KeyUseTable } from './database.ts'

export interface Threat {
  readonly kind: 'failures' | 'new_address' | 'two_places' | 'path_scan' | 'budget_probing' | 'odd_hours'
  /** Milliseconds since the epoch, of the last that shows it. */
  readonly at: number
  readonly who: string
  readonly why: string
  /** What `why` is made of, for those who say it in another language. */
  readonly facts: Readonly<Record<string, string | number>>
  readonly command: string
  /** Whose requests show it; null where there is none of that name. */
  readonly person: string | null
  readonly device: string | null
  readonly key: string | null
  readonly address: string
}

export type Seen = Pick<
  AuditTable,
  'at' | 'address' | 'device' | 'key' | 'key_id' | 'person' | 'path' | 'status' | 'refusal'
>

/** One who mistypes a key stops sooner. */
const failuresInAMinute = 20
/** A client that looks for what a server can do asks some five paths. */
const scannedInFiveMinutes = 15
/** A program that does not heed `x-should-retry: false`. */
const refusalsInTenMinutes = 10
/** Two devices that take turns with a key within that time are two places. */
const togetherMs = 60_000
/** Habits are known after that many days. */
const habitDays = 7

const minuteMs = 60_000

/**
 * @param rows of the audit, the oldest first
 * @param uses every address that each key was ever used from
 * @param since findings of before are left out; rows of before tell what is usual
 */
export function findThreats(rows: readonly Seen[], uses: readonly KeyUseTable[], since: number): Threat[] {
  const recent = rows.filter(({ at }) => at >= since)
  const threats = [
    ...bursts(recent, {
      kind: 'failures',
      windowMs: minuteMs,
      least: failuresInAMinute,
      counts: ({ status }) => status === 401 || status === 403,
      why: (count) => `${count} refused requests (401, 403) within a minute`,
    }),
    ...bursts(recent, {
      kind: 'path_scan',
      windowMs: 5 * minuteMs,
      least: scannedInFiveMinutes,
      counts: ({ status }) => status === 404 || status === 405 || status === 403,
      distinct: ({ path }) => path,
      why: (count) => `${count} different paths that are not served, within five minutes`,
    }),
    ...bursts(recent, {
      kind: 'budget_probing',
      windowMs: 10 * minuteMs,
      least: refusalsInTenMinutes,
      counts: ({ refusal }) => refusal === 'quota',
      why: (count) => `${count} requests within ten minutes after its budget was spent`,
    }),
    ...newAddresses(recent, uses, since),
    ...twoPlaces(recent),
    ...oddHours(rows, since),
  ]
  return threats.toSorted((one, other) => other.at - one.at)
}

interface Burst {
  readonly kind: Threat['kind']
  readonly windowMs: number
  readonly least: number
  counts(row: Seen): boolean
  /** What is counted once. */
  distinct?(row: Seen): string
  why(count: number): string
}

/** The fullest window of each caller, where it is full enough. */
function* bursts(rows: readonly Seen[], burst: Burst): Generator<Threat> {
  for (const [, own] of grouped(rows.filter(burst.counts), ({ key_id, address }) => `${key_id} ${address}`)) {
    let most = 0
    let last: Seen | undefined
    let from = 0
    for (const [to, row] of own.entries()) {
      while ((own[from]?.at ?? 0) < row.at - burst.windowMs) from += 1
      const window = own.slice(from, to + 1)
      const count = burst.distinct ? new Set(window.map(burst.distinct)).size : window.length
      if (count > most) [most, last] = [count, row]
    }
    if (last && most >= burst.least)
      yield {
        kind: burst.kind,
        at: last.at,
        why: burst.why(most),
        facts: { count: most },
        command: actOn(last),
        ...whose(last),
      }
  }
}

function* newAddresses(
  rows: readonly Seen[],
  uses: readonly KeyUseTable[],
  since: number,
): Generator<Threat> {
  for (const use of uses) {
    const older = uses.some((other) => other.key_id === use.key_id && other.first_at < since)
    const row = rows.find(({ key_id, address }) => key_id === use.key_id && address === use.address)
    if (use.first_at < since || !older || !row) continue
    yield {
      kind: 'new_address',
      at: use.first_at,
      why: `used from ${use.address}${row.device === null ? '' : ` (${row.device})`} for the first time`,
      facts: { address: use.address },
      command: `./sotto key rotate "${row.key}" --overlap 0s`,
      ...whose(row),
    }
  }
}

/** One after the other from here, from there, and from here again. */
function* twoPlaces(rows: readonly Seen[]): Generator<Threat> {
  for (const [, own] of grouped(
    rows.filter(({ key_id }) => key_id !== null),
    ({ key_id }) => String(key_id),
  )) {
    const moves = own.filter((row, at) => at === 0 || row.address !== own[at - 1]?.address)
    const at = moves.findLastIndex(
      (row, index) =>
        index >= 2 &&
        row.address === moves[index - 2]?.address &&
        row.at - (moves[index - 2]?.at ?? 0) <= togetherMs,
    )
    const [row, other] = [moves[at], moves[at - 1]]
    if (!row || !other) continue
    yield {
      kind: 'two_places',
      at: row.at,
      why: `used from ${row.address} and ${other.address} in turns, within a minute`,
      facts: { address: row.address, other: other.address },
      command: `./sotto key rotate "${row.key}" --overlap 0s`,
      ...whose(row),
    }
  }
}

/** An hour of the day in which somebody with habits was never there before. */
function* oddHours(rows: readonly Seen[], since: number): Generator<Threat> {
  for (const [person, own] of grouped(
    rows.filter((row) => row.person !== null),
    (row) => String(row.person),
  )) {
    const before = own.filter(({ at }) => at < since)
    const days = new Set(before.map(({ at }) => new Date(at).toDateString()))
    if (days.size < habitDays) continue
    const usual = new Set(before.flatMap(({ at }) => near(new Date(at).getHours())))
    const odd = own.findLast(({ at }) => at >= since && !usual.has(new Date(at).getHours()))
    if (!odd) continue
    const hour = `${String(new Date(odd.at).getHours()).padStart(2, '0')}:00`
    yield {
      ...whose(odd),
      kind: 'odd_hours',
      at: odd.at,
      who: person,
      why: `active at ${hour}, as never in the ${days.size} days before`,
      facts: { hour, days: days.size },
      command: odd.device === null ? './sotto audit' : `./sotto audit --device "${odd.device}"`,
    }
  }
}

function near(hour: number): number[] {
  return [(hour + 23) % 24, hour, (hour + 1) % 24]
}

function grouped(rows: readonly Seen[], by: (row: Seen) => string): Map<string, Seen[]> {
  return Map.groupBy(rows, by)
}

function whose(row: Seen): Pick<Threat, 'who' | 'person' | 'device' | 'key' | 'address'> {
  const { person, device, key, address } = row
  return { who: nameOf(row), person, device, key, address }
}

function nameOf({ key, device, address }: Seen): string {
  if (key !== null) return `key “${key}”${device === null ? '' : ` on ${device}`}`
  return device === null ? address : `device “${device}”`
}

function actOn({ key, device }: Seen): string {
  if (key !== null) return `./sotto key disable "${key}"`
  return device === null || device === 'this machine'
    ? './sotto audit --denied'
    : `./sotto device disable "${device}"`
}
