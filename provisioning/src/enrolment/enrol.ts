/** How a device gets its config: with a key made for it, shown once and forgotten, or with its own. */
import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { makeKeyPair } from '#overlay/keys.ts'
import { addDevice, rotateDevice, type Device, type NewDevice } from '#registry/device.ts'
import { makeLink, redeemLink, type Link, type NewLink } from '#registry/link.ts'
import { requireNetwork, type Network } from '#registry/network.ts'
import { deviceConfig } from '#wireguard/config.ts'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'
import { linkText } from './link.ts'

export interface Enrolment {
  readonly device: Device
  /**
   * The WireGuard config. It holds the device's private key where that was made here, and is nowhere else:
   * once shown, it is forgotten. Else `keyPlaceholder` stands in the key's place.
   */
  readonly config: string
  readonly keyMadeHere: boolean
}

/** What the device puts its own private key in place of. */
export const keyPlaceholder = 'PRIVATE_KEY'

type Wanted = Omit<NewDevice, 'publicKey'> & { readonly publicKey?: string }

/** Adds a device; without a public key of its own, one is made for it. */
export async function enrol(database: Database, network: Network, wanted: Wanted): Promise<Enrolment> {
  return withKey(network, wanted.publicKey, (publicKey) =>
    addDevice(database, network, { ...wanted, publicKey }),
  )
}

/** Gives a device a new key; its old one is of no use at once. */
export async function rotate(
  database: Database,
  network: Network,
  name: string,
  publicKey?: string,
): Promise<Enrolment> {
  return withKey(network, publicKey, (key) => rotateDevice(database, name, key))
}

/** Turns a one-time link into a device. Throws a `Problem` of `redeemLink`. */
export async function redeem(
  database: Database,
  network: Network,
  { token, publicKey, directKey }: { token: string; publicKey?: string; directKey?: string },
): Promise<Enrolment> {
  return withKey(network, publicKey, (key) =>
    redeemLink(database, network, { token, publicKey: key, ...(directKey !== undefined && { directKey }) }),
  )
}

export interface OfferedLink {
  readonly link: Link
  /** What `sotto join` takes, and a browser on the overlay. */
  readonly text: string
  /** For WireGuard: the link's own place on the overlay, from which the gateway lets the device enrol. */
  readonly config: string
}

/**
 * Makes a one-time link. Throws a `Problem` where it would lead nowhere.
 *
 * @param certs directory of the CA, to which the link holds the gateway
 */
export async function offerLink(database: Database, certs: string, wanted: NewLink): Promise<OfferedLink> {
  const network = requireEndpoint(await requireNetwork(database))
  const { gatewayPort: port } = network
  const rootCertificate = await readFile(join(certs, 'root.crt'), 'utf8').catch(() => undefined)
  if (port === null || rootCertificate === undefined)
    throw new Problem(
      'never_served',
      'The gateway has not served yet, so a link would lead nowhere.',
      'Start it: `npm start`.',
    )
  const { link, secrets } = await makeLink(database, network, wanted)
  return {
    link,
    text: linkText(link, secrets, { network, port, rootCertificate }),
    config: deviceConfig(network, { ...link, keepalive: 0 }, secrets.privateKey),
  }
}

async function withKey(
  network: Network,
  own: string | undefined,
  register: (publicKey: string) => Promise<Device>,
): Promise<Enrolment> {
  const reachable = requireEndpoint(network)
  const pair = own === undefined ? makeKeyPair() : { publicKey: own, privateKey: keyPlaceholder }
  const device = await register(pair.publicKey)
  return {
    device,
    config: deviceConfig(reachable, device, pair.privateKey),
    keyMadeHere: own === undefined,
  }
}

/** Throws a `Problem` where nobody knows what devices should dial. */
export function requireEndpoint(network: Network): Network & { readonly endpoint: string } {
  const { endpoint } = network
  if (endpoint !== null) return { ...network, endpoint }
  throw new Problem(
    'no_endpoint',
    'It is not known under which address devices reach this machine.',
    'Start the gateway with --endpoint HOST.',
  )
}

/** Opens a new 0600 file. Throws a `Problem` where it exists or can't be made. */
export async function saveFile(
  file: string,
): Promise<{ write(content: string | Uint8Array): Promise<void>; cancel(): Promise<void> }> {
  const handle = await open(file, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'EEXIST' ? 'exists already' : `can't be made (${error.code})`
    throw new Problem('file', `${file} ${why}.`, 'Name another file.', error)
  })
  return {
    async write(content) {
      await handle.writeFile(content)
      await handle.close()
    },
    async cancel() {
      await handle.close()
      await rm(file)
    },
  }
}
