/** Makes the network where there is none: hub keys, ranges, port, endpoint; and opens it where there is. */
import { existsSync, readFileSync } from 'node:fs'
import { createSocket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import { execa } from 'execa'
import writeFileAtomic from 'write-file-atomic'
import { z } from 'zod'
import { freeRange4, makeRange6 } from '#overlay/addresses.ts'
import { makeKeyPair, publicKeyOf } from '#overlay/keys.ts'
import { insertNetwork, readNetwork, setEndpoint, type Network } from '#registry/network.ts'
import type { Database } from './database.ts'
import { Problem } from './problem.ts'
import type { State } from './state.ts'

export interface OpenNetwork {
  readonly network: Network
  /** Of the hub, base64. */
  readonly privateKey: string
  /** Whether it was made just now. */
  readonly made: boolean
}

/** WireGuard's usual port; the next free one where another network has it. */
const firstPort = 51_820

/**
 * @param endpoint `host` or `host:port` that devices dial; without it the address of the default route.
 */
export async function ensureNetwork(
  state: State,
  database: Database,
  endpoint?: string,
): Promise<OpenNetwork> {
  const known = await readNetwork(database)
  if (known) return { ...(await openNetwork(state, database, known, endpoint)), made: false }
  // A key without a network is what a crash between the two leaves: nothing depends on it yet.
  const { privateKey, publicKey } = makeKeyPair()
  const range4 = freeRange4(await hostRoutes())
  if (!range4)
    throw new Problem(
      'no_range',
      'Every 10.77.x.0/24 is routed on this machine already.',
      'Free one of them, then start again.',
    )
  const listenPort = await freePort(firstPort)
  const host = endpoint ?? (await ownAddress())
  const network: Network = {
    interface: freeInterface(),
    range4,
    range6: makeRange6(),
    listenPort,
    endpoint: host ? withPort(host, listenPort) : null,
    publicKey,
  }
  await writeFileAtomic(state.hubKey, `${privateKey}\n`, { mode: 0o600 })
  await insertNetwork(database, network)
  return { network, privateKey, made: true }
}

/** The ready network of a state directory, as commands need it. */
export async function requireNetwork(database: Database): Promise<Network> {
  const network = await readNetwork(database)
  if (!network)
    throw new Problem(
      'network_missing',
      'There is no network yet.',
      'Start the gateway once with `npm start`.',
    )
  return network
}

async function openNetwork(state: State, database: Database, known: Network, endpoint: string | undefined) {
  const remedy = `Restore ${state.hubKey} from a backup, or start anew with --state DIR; devices then need new codes.`
  if (!existsSync(state.hubKey))
    throw new Problem('hub_key_missing', `The hub's private key ${state.hubKey} is missing.`, remedy)
  const privateKey = readFileSync(state.hubKey, 'utf8').trim()
  if (!matches(privateKey, known.publicKey))
    throw new Problem(
      'hub_key_wrong',
      `The hub's private key ${state.hubKey} does not belong to this network.`,
      remedy,
    )
  if (endpoint === undefined || known.endpoint === withPort(endpoint, known.listenPort))
    return { network: known, privateKey }
  await setEndpoint(database, withPort(endpoint, known.listenPort))
  return { network: { ...known, endpoint: withPort(endpoint, known.listenPort) }, privateKey }
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

async function hostRoutes(): Promise<string[]> {
  const { failed, stdout } = await execa('ip', ['-json', 'route', 'show', 'table', 'all'], { reject: false })
  if (failed) return []
  return z
    .array(z.object({ dst: z.string() }))
    .parse(JSON.parse(stdout || '[]'))
    .map(({ dst }) => (/^\d+(\.\d+){3}$/.test(dst) ? `${dst}/32` : dst))
    .filter((route) => /^\d+(\.\d+){3}\/\d+$/.test(route))
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

function freeInterface(): string {
  // wireguard-go's control sockets are one folder for all network namespaces of a machine.
  const taken = (name: string) =>
    existsSync(`/sys/class/net/${name}`) || existsSync(`/var/run/wireguard/${name}.sock`)
  for (let number = 0; ; number += 1) if (!taken(`sotto${number}`)) return `sotto${number}`
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
