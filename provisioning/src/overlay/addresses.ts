/** The address plan: ranges, the hub's place in them, and the next free place for a device. */
import { randomBytes } from 'node:crypto'
import ipaddr from 'ipaddr.js'

/** The same host number in both ranges, so that 10.77.0.5 and fd…::5 are one device at a glance. */
export interface AddressPair {
  readonly address4: string
  readonly address6: string
}

export interface Ranges {
  /** IPv4 CIDR, /16 to /29. */
  readonly range4: string
  /** IPv6 CIDR, /64. */
  readonly range6: string
}

const hubNumber = 1
/** Of the first device. */
export const firstNumber = 2

/** A unique local /64: `fd` and 40 random bits, so that two networks can meet later (RFC 4193 §3.2). */
export function makeRange6(): string {
  const id = randomBytes(5).toString('hex')
  return `${ipaddr.parse(`fd${id.slice(0, 2)}:${id.slice(2, 6)}:${id.slice(6, 10)}::`).toString()}/64`
}

/**
 * The first 10.77.x.0/24 that none of the host's routes overlaps: an overlay on top of a network that the
 * host already reaches would cut it off. Undefined where all are taken.
 */
export function freeRange4(routes: readonly string[]): string | undefined {
  for (let third = 0; third < 256; third += 1) {
    const range = `10.77.${third}.0/24`
    if (!routes.some((route) => overlaps(range, route))) return range
  }
  return undefined
}

/** RFC 1918, and the range that carriers share (RFC 6598), which no home has. */
const privateRanges = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10']

/** A private IPv4 range of /16 to /29 in its canonical spelling; undefined for what is none. */
export function parseRange4(text: string): string | undefined {
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(text)) return undefined
  const [, bits] = ipaddr.IPv4.parseCIDR(text)
  const range = `${ipaddr.IPv4.networkAddressFromCIDR(text).toString()}/${bits}`
  const within = privateRanges.some((wide) => overlaps(range, wide) && bits >= ipaddr.parseCIDR(wide)[1])
  return within && bits >= 16 && bits <= 29 ? range : undefined
}

/** The hub has the first address of each range. */
export function hubAddresses(ranges: Ranges): AddressPair {
  return numbered(ranges, hubNumber)
}

/** The pair of a host number; undefined for one that no device may have. */
export function addressesAt(ranges: Ranges, number: number): AddressPair | undefined {
  return number > hubNumber && number <= lastNumber(ranges) ? numbered(ranges, number) : undefined
}

/** The lowest host number not in `taken`; undefined where the range is full. */
export function lowestFree(ranges: Ranges, taken: ReadonlySet<number>): number | undefined {
  const last = lastNumber(ranges)
  for (let number = firstNumber; number <= last; number += 1) if (!taken.has(number)) return number
  return undefined
}

/** The last address of a range is its broadcast address. */
function lastNumber({ range4 }: Ranges): number {
  return 2 ** (32 - ipaddr.IPv4.parseCIDR(range4)[1]) - 2
}

/** Whether two CIDR ranges of one family share an address. */
export function overlaps(one: string, other: string): boolean {
  const [first, firstBits] = ipaddr.parseCIDR(one)
  const [second, secondBits] = ipaddr.parseCIDR(other)
  if (first.kind() !== second.kind()) return false
  return first.match(second, Math.min(firstBits, secondBits))
}

function numbered({ range4, range6 }: Ranges, number: number): AddressPair {
  return { address4: offset(range4, number), address6: offset(range6, number) }
}

function offset(range: string, number: number): string {
  const bytes = ipaddr.parse(range.split('/')[0] ?? '').toByteArray()
  let rest = number
  for (let at = bytes.length - 1; rest > 0; at -= 1) {
    rest += bytes[at] ?? 0
    bytes[at] = rest % 256
    rest = Math.floor(rest / 256)
  }
  return ipaddr.fromByteArray(bytes).toString()
}
