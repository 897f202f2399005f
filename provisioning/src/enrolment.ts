/** How a device gets in: its key made for it, shown once, and forgotten. */
import { open, rm } from 'node:fs/promises'
import QRCode from 'qrcode'
import { makeKeyPair } from '#overlay/keys.ts'
import { addDevice, type Device } from '#registry/device.ts'
import type { Network } from '#registry/network.ts'
import type { Person } from '#registry/person.ts'
import { deviceConfig } from '#wireguard/config.ts'
import type { Database } from './database.ts'
import { Problem } from './problem.ts'

export interface Enrolment {
  readonly device: Device
  /** The WireGuard config with the device's private key. It is nowhere else: once shown, it is forgotten. */
  readonly config: string
}

/** Adds a device and makes its config. */
export async function enrol(
  database: Database,
  network: Network,
  name: string,
  person: Person,
): Promise<Enrolment> {
  const { endpoint } = network
  if (endpoint === null)
    throw new Problem(
      'no_endpoint',
      'It is not known under which address devices reach this machine.',
      'Start the gateway with --endpoint HOST.',
    )
  const { privateKey, publicKey } = makeKeyPair()
  const device = await addDevice(database, network, { name, person, publicKey })
  return { device, config: deviceConfig({ ...network, endpoint }, device, privateKey) }
}

/** The config as a QR code of half-height blocks, for a terminal; the WireGuard apps scan it. */
export async function terminalQr(config: string): Promise<string> {
  return QRCode.toString(config, { type: 'terminal', small: true, errorCorrectionLevel: 'L' })
}

/** Opens a new 0600 file for a config. Throws a `Problem` where it exists or can't be made. */
export async function saveConfig(
  file: string,
): Promise<{ write(config: string): Promise<void>; cancel(): Promise<void> }> {
  const handle = await open(file, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'EEXIST' ? 'exists already' : `can't be made (${error.code})`
    throw new Problem('file', `${file} ${why}.`, 'Name another file with --out FILE.', error)
  })
  return {
    async write(config) {
      await handle.writeFile(config)
      await handle.close()
    },
    async cancel() {
      await handle.close()
      await rm(file)
    },
  }
}
