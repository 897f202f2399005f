/** How a device gets its config: with a key made for it, shown once and forgotten, or with its own. */
import { open, rm } from 'node:fs/promises'
import { makeKeyPair } from '#overlay/keys.ts'
import { addDevice, rotateDevice, type Device, type NewDevice } from '#registry/device.ts'
import { redeemLink } from '#registry/link.ts'
import type { Network } from '#registry/network.ts'
import { deviceConfig } from '#wireguard/config.ts'
import type { Database } from '../database.ts'
import { Problem } from '../problem.ts'

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
