/** Makes the network where there is none: hub keys, ranges, port, endpoint; and opens it where there is. */
import { existsSync, readFileSync } from 'node:fs'
import { createSocket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import { execa } from 'execa'
import writeFileAtomic from 'write-file-atomic'
import { z } from 'zod'
import { freeRange4, makeRange6, overlaps, parseRange4 } from '#overlay/addresses.ts'
import { makeKeyPair, publicKeyOf } from '#overlay/keys.ts'
import { insertNetwork, readNetwork, setEndpoint, type Network } from '#registry/network.ts'
import { freeName } from '#wireguard/interface.ts'
import type { Database } from './database.ts'
import { readSetting } from './postgres/setting.ts'
import { Problem } from './problem.ts'
import type { State } from './state.ts'

export interface OpenNetwork {
  readonly network: Network
  /** Of the hub, base64. */
  readonly privateKey: string
  /** Whether it was made just now. */
  readonly made: boolean
}

/**
 * WireGuard's usual port; the next free one where another network has it.
 * @internal
 */
export const firstPort = 51_820

export interface NetworkWishes {
  /** `host` or `host:port` that devices dial; without it the address of the default route. */
  readonly endpoint?: string
  /** IPv4 CIDR for a network that is made now; without it the first 10.77.x.0/24 that is free. */
  readonly range?: string
}

/** Opens the network, making it where there is none. Throws a `Problem` for wishes that can't be met. */
export async function ensureNetwork(
  state: State,
  database: Database,
  { endpoint, range }: NetworkWishes = {},
): Promise<OpenNetwork> {
  const known = await readNetwork(database)
  if (known) {
    if (range !== undefined && parseRange4(range) !== known.range4)
      throw new Problem(
        'range_fixed',
        `This network has ${known.range4}; its devices have their addresses from it.`,
        'Leave --range out, or start a new network with --state DIR.',
      )
    return { ...(await openNetwork(state, database, known, endpoint)), made: false }
  }
  const setting = await readSetting(state.directory)
  if (setting && existsSync(state.hubKey))
    throw new Problem(
      'database_empty',
      `The database at ${setting.where} holds no network, and ${state.hubKey} is the key of one.`,
      existsSync(state.database)
        ? 'Carry over what is in this directory: ./sotto database move'
        : `Restore its dump; or, for a network that is new, take ${state.hubKey} away.`,
    )
  // A key without a network is what a crash between the two leaves: nothing depends on it yet.
  const { privateKey, publicKey } = makeKeyPair()
  const listenPort = await freePort(firstPort)
  const host = endpoint ?? (await ownAddress())
  const network: Network = {
    interface: freeName('sotto'),
    range4: await chooseRange(range),
    range6: makeRange6(),
    listenPort,
    endpoint: host ? withPort(host, listenPort) : null,
    publicKey,
    gatewayPort: null,
  }
  await writeFileAtomic(state.hubKey, `${privateKey}\n`, { mode: 0o600 })
  await insertNetwork(database, network)
  return { network, privateKey, made: true }
}

async function chooseRange(wanted: string | undefined): Promise<string> {
  const routes = await hostRoutes()
  const range =
    wanted === undefined ? freeRange4(routes.map(({ range: taken }) => taken)) : parseRange4(wanted)
  if (range === undefined)
    throw wanted === undefined
      ? new Problem(
          'no_range',
          'Every 10.77.x.0/24 is routed on this machine already.',
          'Name a range that is free with --range, for example --range 172.27.0.0/24.',
        )
      : new Problem(
          'range',
          `“${wanted}” is no range for an overlay.`,
          'Give a private IPv4 range of /16 to /29, for example --range 10.77.0.0/22.',
        )
  await checkRoutes(range)
  return range
}

/**
 * Throws a `Problem` where this machine reaches a range, or a part of it, by another interface: an overlay on
 * top of it would cut that off.
 *
 * @param own interfaces whose routes are ours
 */
export async function checkRoutes(range: string, own: readonly string[] = []): Promise<void> {
  const other = (await hostRoutes()).find(
    (route) => !own.includes(route.interface) && overlaps(range, route.range),
  )
  if (other)
    throw new Problem(
      'range_conflict',
      `This machine reaches ${other.range} through ${other.interface}, and the overlay's ${range} is on top of it.`,
      `Take that route away (\`ip route del ${other.range} dev ${other.interface}\`), or make a network with another --range.`,
    )
}

async function openNetwork(state: State, database: Database, known: Network, endpoint: string | undefined) {
  const privateKey = openNetworkKey(state, known)
  const network = endpoint === undefined ? known : await changeEndpoint(database, known, endpoint)
  return { network, privateKey }
}

/** The hub's private key. Throws a `Problem` where it is missing or another's. */
export function openNetworkKey(state: State, network: Network): string {
  const remedy = `Restore ${state.hubKey} from a backup, or start anew with --state DIR; devices then need new codes.`
  if (!existsSync(state.hubKey))
    throw new Problem('hub_key_missing', `The hub's private key ${state.hubKey} is missing.`, remedy)
  const privateKey = readFileSync(state.hubKey, 'utf8').trim()
  if (matches(privateKey, network.publicKey)) return privateKey
  throw new Problem(
    'hub_key_wrong',
    `The hub's private key ${state.hubKey} does not belong to this network.`,
    remedy,
  )
}

/** Sets what devices dial from now on: `host` or `host:port`. Throws a `Problem` for what is no endpoint. */
export async function changeEndpoint(
  database: Database,
  network: Network,
  endpoint: string,
): Promise<Network> {
  const next = withPort(endpoint, network.listenPort)
  if (next === network.endpoint) return network
  await setEndpoint(database, next)
  return { ...network, endpoint: next }
}

function matches(privateKey: string, publicKey: string): boolean {
  try {
    return publicKeyOf(privateKey) === publicKey
  } catch {
    return false
  }
}

/** `host`, `host:port`, `::1` or `[::1]:port`, always given a port. */
function withPort(endpoint: string, port: number): string {
  const [, bracketed, plain, given] =
    /^(?:\[([0-9a-f:.]+)\]|([A-Za-z0-9.-]+))(?::(\d{1,5}))?$/i.exec(endpoint) ?? []
  const bare = /^[0-9a-f:.]+$/i.test(endpoint) && endpoint.includes('::') ? endpoint : bracketed
  if (!bare && !plain)
    throw new Problem(
      'endpoint',
      `“${endpoint}” is no endpoint.`,
      'Give --endpoint a host name or an address, with or without :port.',
    )
  return `${bare ? `[${bare}]` : plain}:${given ?? port}`
}

async function hostRoutes(): Promise<{ readonly range: string; readonly interface: string }[]> {
  const { failed, stdout } = await execa('ip', ['-json', 'route', 'show', 'table', 'all'], { reject: false })
  if (failed) return []
  return z
    .array(z.object({ dst: z.string(), dev: z.string().default('') }))
    .parse(JSON.parse(stdout || '[]'))
    .map(({ dst, dev }) => ({ range: /^\d+(\.\d+){3}$/.test(dst) ? `${dst}/32` : dst, interface: dev }))
    .filter(({ range }) => /^\d+(\.\d+){3}\/\d+$/.test(range))
}

/** The address that the default route leaves from, else the first that is not loopback. */
async function ownAddress(): Promise<string | undefined> {
  // 192.0.2.1 is for documentation (RFC 5737): the kernel is asked for a route, nothing is sent.
  const { failed, stdout } = await execa('ip', ['-json', 'route', 'get', '192.0.2.1'], { reject: false })
  const [route] = z
    .array(z.object({ prefsrc: z.string().optional() }))
    .parse(JSON.parse((!failed && stdout) || '[]'))
  return (
    route?.prefsrc ??
    Object.values(networkInterfaces())
      .flat()
      .find((address) => address && !address.internal && address.family === 'IPv4')?.address
  )
}

async function freePort(first: number): Promise<number> {
  for (let port = first; port < first + 100; port += 1) if (await isFree(port)) return port
  throw new Problem(
    'no_port',
    `No UDP port from ${first} to ${first + 99} is free.`,
    'Stop what listens there, then start again.',
  )
}

function isFree(port: number): Promise<boolean> {
  const socket = createSocket('udp4')
  return new Promise((settle) => {
    socket.once('error', () => settle(false))
    socket.bind(port, () => socket.close(() => settle(true)))
  })
}
