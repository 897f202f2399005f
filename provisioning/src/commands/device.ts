/** `sotto device add|list|remove`. */
import { Command } from 'commander'
import type { Output } from './output.ts'

export function deviceCommand(output: Output): Command {
  return new Command('device')
    .description('the devices of the network')
    .addCommand(add(output))
    .addCommand(list(output))
    .addCommand(remove(output))
}

interface Options {
  readonly state?: string
  readonly json?: boolean
}

function add(output: Output): Command {
  return common(new Command('add'))
    .description('add a device and show its code for the WireGuard app, once')
    .argument('<name>', 'what to call it, for example "Ada phone"')
    .option('--person <name>', 'whose it is (default: the admin)')
    .option('--out <file>', 'write the config to a file instead of showing the code')
    .action(async (name: string, options: Options & { person?: string; out?: string }) => {
      const { enrol, saveConfig, terminalQr } = await import('#enrolment.ts')
      const { ensurePerson, firstPerson } = await import('#registry/person.ts')
      await withNetwork(options, async ({ database, network }) => {
        const person = await (options.person ? ensurePerson(database, options.person) : firstPerson(database))
        // The file is made first: a device whose only config could not be written would be of no use.
        const save = options.out === undefined ? undefined : await saveConfig(options.out)
        const { device, config } = await enrol(database, network, name, person).catch(
          async (error: unknown) => {
            await save?.cancel()
            throw error
          },
        )
        await save?.write(config)
        const shown = save
          ? `Its config is in ${options.out}; import it into WireGuard there, then delete the file.`
          : `${await terminalQr(config)}\nScan this with the WireGuard app: it holds the device's private key and is shown this once.`
        const { presharedKey: _, ...data } = device
        output.result(
          { device: data, ...(save ? { file: options.out } : { config }) },
          `Added “${device.name}” for ${device.person} at ${device.address4} and ${device.address6}.\n${shown}`,
        )
      })
    })
}

function list(output: Output): Command {
  return common(new Command('list'))
    .description('list the devices')
    .action(async (options: Options) => {
      const { listDevices } = await import('#registry/device.ts')
      const { readPeers } = await import('#wireguard/interface.ts')
      const { isOnline } = await import('#wireguard/peers.ts')
      await withNetwork(options, async ({ database, network }) => {
        const peers = new Map((await readPeers(network.interface))?.map((peer) => [peer.publicKey, peer]))
        const devices = (await listDevices(database)).map((device) => {
          const peer = peers.get(device.publicKey)
          const { presharedKey: _, ...rest } = device
          return {
            ...rest,
            online: isOnline(peer),
            latestHandshake: peer?.latestHandshake
              ? new Date(peer.latestHandshake * 1000).toISOString()
              : null,
            endpoint: peer?.endpoint ?? null,
            receivedBytes: peer?.receivedBytes ?? 0,
            sentBytes: peer?.sentBytes ?? 0,
          }
        })
        const rows = devices.map((device) => [
          device.name,
          device.person,
          device.address4,
          device.address6,
          device.online ? 'online' : device.latestHandshake ? `seen ${device.latestHandshake}` : 'never seen',
        ])
        output.result(
          { devices },
          devices.length === 0
            ? 'No devices yet: ./sotto device add NAME'
            : table([['NAME', 'PERSON', 'IPV4', 'IPV6', 'STATE'], ...rows]),
        )
      })
    })
}

function remove(output: Output): Command {
  return common(new Command('remove'))
    .description('remove a device; its connections end within a second')
    .argument('<name>')
    .action(async (name: string, options: Options) => {
      const { removeDevice } = await import('#registry/device.ts')
      await withNetwork(options, async ({ database }) => {
        const { presharedKey: _, ...device } = await removeDevice(database, name)
        output.result({ device }, `Removed “${device.name}”. Its addresses are not given to another device.`)
      })
    })
}

function common(command: Command): Command {
  return command.option('--state <dir>', 'state directory').option('--json', 'print the result as JSON')
}

type Opened = Awaited<ReturnType<typeof open>>

async function withNetwork(options: Options, task: (opened: Opened) => Promise<void>): Promise<void> {
  const opened = await open(options)
  try {
    await task(opened)
  } finally {
    await opened.database.destroy()
  }
}

async function open(options: Options) {
  const { openState } = await import('#state.ts')
  const { openDatabase } = await import('#database.ts')
  const { requireNetwork } = await import('#network.ts')
  const state = openState(options.state)
  const database = await openDatabase(state.database)
  return { database, network: await requireNetwork(database) }
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
