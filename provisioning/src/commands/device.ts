/** `sotto device …`: who is in the network. */
import { Command } from 'commander'
import type { Enrolment } from '#enrolment/enrol.ts'
import type { Device } from '#registry/device.ts'
import type { DeviceView } from '#registry/view.ts'
import { acted, common, table, withNetwork, type CommonOptions, type Opened } from './network-state.ts'
import type { Output } from './output.ts'

export function deviceCommand(output: Output): Command {
  return new Command('device')
    .description('the devices of the network')
    .addCommand(add(output))
    .addCommand(list(output))
    .addCommand(show(output))
    .addCommand(rename(output))
    .addCommand(disable(output))
    .addCommand(enable(output))
    .addCommand(expire(output))
    .addCommand(rotate(output))
    .addCommand(remove(output))
    .addCommand(links(output))
    .addCommand(withdraw(output))
    .addCommand(steps(output))
}

interface ConfigOptions extends CommonOptions {
  readonly out?: string
  readonly qr?: string
  readonly publicKey?: string
}

interface AddOptions extends ConfigOptions {
  readonly person?: string
  readonly expires?: string
  readonly keepalive?: string
  readonly link?: boolean | string
}

function add(output: Output): Command {
  return withConfig(new Command('add'))
    .description('add a device and show its code for the WireGuard app, once')
    .argument('<name>', 'what to call it, for example "Ada phone"')
    .option('--person <name>', 'whose it is (default: the admin)')
    .option('--expires <when>', 'until when it may speak: a date, or a time from now such as 30d')
    .option('--keepalive <seconds>', 'how often it keeps its path open, 0 for never (default: 25)')
    .option('--link [life]', 'make a one-time link instead, by default for 1d; the device makes its own key')
    .action(async (name: string, options: AddOptions) => {
      if (options.link !== undefined) return addByLink(output, name, options)
      const { enrol } = await import('#enrolment/enrol.ts')
      const { personOf } = await import('#registry/person.ts')
      const { readTime } = await import('./arguments.ts')
      const expiresAt = options.expires === undefined ? undefined : readTime(options.expires)
      return withNetwork(options, async (opened) => {
        const person = await personOf(opened.database, options.person)
        await handOver(
          output,
          { ...options, opened },
          (device) => `Added “${device.name}” for ${device.person}`,
          () =>
            enrol(opened.database, opened.network, {
              name,
              person,
              ...(options.publicKey !== undefined && { publicKey: options.publicKey }),
              ...(options.keepalive !== undefined && { keepalive: Number(options.keepalive) }),
              ...(expiresAt && { expiresAt }),
            }),
        )
      })
    })
}

async function addByLink(output: Output, name: string, options: AddOptions): Promise<void> {
  const { offerLink } = await import('#enrolment/enrol.ts')
  const { pictureQr, terminalQr } = await import('#enrolment/qr.ts')
  const { personOf } = await import('#registry/person.ts')
  const { writeFile } = await import('node:fs/promises')
  const { readTime } = await import('./arguments.ts')
  const lifeMs = typeof options.link === 'string' ? readTime(options.link).getTime() - Date.now() : undefined
  const expiresAt = options.expires === undefined ? undefined : readTime(options.expires)
  await withNetwork(options, async (opened) => {
    const { database, state } = opened
    const person = await personOf(database, options.person)
    const { link, text } = await offerLink(database, state.certs, { name, person, lifeMs, expiresAt })
    await acted(opened)
    if (options.qr !== undefined)
      await writeFile(options.qr, await pictureQr(text, options.qr), { mode: 0o600, flag: 'wx' })
    output.result(
      { link: text, name: link.name, person: person.name, expiresAt: link.expiresAt },
      [
        `One device, once, until ${link.expiresAt}, as “${link.name}” of ${person.name}:`,
        '',
        text,
        '',
        await terminalQr(text),
        `On a Linux device:                 sudo ./sotto join '…the link…'`,
        'For a phone with the WireGuard app: open the link in a browser that is on the network already; it makes the key and shows the code to scan.',
        'The link is kept nowhere: copy it now.',
      ].join('\n'),
    )
  })
}

function list(output: Output): Command {
  return common(new Command('list'))
    .description('list the devices')
    .action(async (options: CommonOptions) => {
      const { viewDevices } = await import('#registry/view.ts')
      await withNetwork(options, async ({ database }) => {
        const devices = await viewDevices(database)
        const rows = devices.map((device) => [
          device.name,
          device.person,
          device.address4,
          device.address6,
          describeState(device),
          `${bytes(device.receivedBytes)} in, ${bytes(device.sentBytes)} out`,
          describePaths(device),
        ])
        output.result(
          { devices },
          devices.length === 0
            ? 'No devices yet: ./sotto device add NAME'
            : table([['NAME', 'PERSON', 'IPV4', 'IPV6', 'STATE', 'TRAFFIC', 'PATHS'], ...rows]),
        )
      })
    })
}

function show(output: Output): Command {
  return common(new Command('show'))
    .description('all about one device')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { findDevice } = await import('#registry/device.ts')
      const { viewDevices } = await import('#registry/view.ts')
      await withNetwork(options, async ({ database }) => {
        const { id } = await findDevice(database, name)
        const device = (await viewDevices(database)).find((view) => view.id === id)
        if (!device) return
        const rows: [string, string][] = [
          ['Name', device.name],
          ['Person', device.person],
          ['Addresses', `${device.address4}, ${device.address6}`],
          ['Public key', device.publicKey],
          ['State', describeState(device)],
          ['Endpoint', device.endpoint ?? 'not seen yet'],
          ['Traffic', `${bytes(device.receivedBytes)} received, ${bytes(device.sentBytes)} sent`],
          ['Keepalive', device.keepalive === 0 ? 'off' : `${device.keepalive} s`],
          ['Added', device.createdAt],
          ['Expires', device.expiresAt ?? 'never'],
          ...device.paths.map((path): [string, string] => [
            `To ${path.peer}`,
            `${path.state} since ${path.since}${path.reason === null ? '' : `: ${path.reason}`}`,
          ]),
        ]
        output.result({ device }, table(rows))
      })
    })
}

function rename(output: Output): Command {
  return common(new Command('rename'))
    .description('give a device another name')
    .argument('<name>')
    .argument('<new-name>')
    .action(async (name: string, to: string, options: CommonOptions) => {
      const { renameDevice } = await import('#registry/device.ts')
      await changing(
        output,
        options,
        ({ database }) => renameDevice(database, name, to),
        (device) => `“${name}” is now “${device.name}”.`,
      )
    })
}

function disable(output: Output): Command {
  return common(new Command('disable'))
    .description('keep a device out until it is enabled again; its connections end within a second')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { disableDevice } = await import('#registry/device.ts')
      await changing(
        output,
        options,
        ({ database }) => disableDevice(database, name),
        (device) =>
          `Disabled “${device.name}”. It keeps its keys and addresses: ./sotto device enable "${device.name}"`,
      )
    })
}

function enable(output: Output): Command {
  return common(new Command('enable'))
    .description('let a disabled device in again')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { enableDevice } = await import('#registry/device.ts')
      await changing(
        output,
        options,
        ({ database }) => enableDevice(database, name),
        (device) =>
          device.expiresAt !== null && Date.parse(device.expiresAt) <= Date.now()
            ? `Enabled “${device.name}”, but its time passed at ${device.expiresAt}: ./sotto device expire "${device.name}" never`
            : `Enabled “${device.name}”.`,
      )
    })
}

function expire(output: Output): Command {
  return common(new Command('expire'))
    .description('set until when a device may speak')
    .argument('<name>')
    .argument('<when>', 'a date (2026-12-24T18:00), a time from now (30d, 12h), now, or never')
    .action(async (name: string, when: string, options: CommonOptions) => {
      const { expireDevice } = await import('#registry/device.ts')
      const { readTime } = await import('./arguments.ts')
      const at = when === 'never' ? null : readTime(when)
      await changing(
        output,
        options,
        ({ database }) => expireDevice(database, name, at),
        (device) =>
          device.expiresAt === null
            ? `“${device.name}” does not expire.`
            : `“${device.name}” may speak until ${device.expiresAt}.`,
      )
    })
}

function rotate(output: Output): Command {
  return withConfig(new Command('rotate'))
    .description('give a device new keys and show its new code; the old one is of no use at once')
    .argument('<name>')
    .action(async (name: string, options: ConfigOptions) => {
      const { rotate: rotateKeys } = await import('#enrolment/enrol.ts')
      await withNetwork(options, async (opened) => {
        const { database, network } = opened
        await handOver(
          output,
          { ...options, opened },
          (device) => `New keys for “${device.name}”`,
          () => rotateKeys(database, network, name, options.publicKey),
        )
      })
    })
}

function remove(output: Output): Command {
  return common(new Command('remove'))
    .description('remove a device; its connections end within a second')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { quarantineMs, removeDevice } = await import('#registry/device.ts')
      await changing(
        output,
        options,
        ({ database }) => removeDevice(database, name),
        (device) =>
          `Removed “${device.name}”. No other device gets its addresses for ${quarantineMs / 86_400_000} days.`,
      )
    })
}

function links(output: Output): Command {
  return common(new Command('links'))
    .description('the one-time links that wait to be used')
    .action(async (options: CommonOptions) => {
      const { listLinks } = await import('#registry/link.ts')
      await withNetwork(options, async ({ database }) => {
        const waiting = (await listLinks(database)).map(({ name, createdAt, expiresAt }) => ({
          name,
          createdAt,
          expiresAt,
        }))
        output.result(
          { links: waiting },
          waiting.length === 0
            ? 'No link waits.'
            : table([
                ['FOR', 'MADE', 'UNTIL'],
                ...waiting.map(({ name, createdAt, expiresAt }) => [name, createdAt, expiresAt]),
              ]),
        )
      })
    })
}

function withdraw(output: Output): Command {
  return common(new Command('withdraw'))
    .description('end a one-time link before it is used')
    .argument('<name>', 'the device that it is for')
    .action(async (name: string, options: CommonOptions) => {
      const { withdrawLink } = await import('#registry/link.ts')
      await withNetwork(options, async (opened) => {
        await withdrawLink(opened.database, name)
        await acted(opened)
        output.result({ withdrawn: name }, `The link for “${name}” opens nothing any more.`)
      })
    })
}

function steps(output: Output): Command {
  return common(new Command('steps'))
    .description('what to do on the device itself, by its system, and how this machine lets it in')
    .argument('<system>', 'linux, macos, windows, ios or android')
    .option('--name <device>', 'whose file to name', 'phone')
    .action(async (system: string, options: CommonOptions & { name: string }) => {
      const { configFileName, deviceSteps, hubFirewall, systems } = await import('#enrolment/steps.ts')
      const { hubAddresses } = await import('#overlay/addresses.ts')
      const { Problem } = await import('#problem.ts')
      const known = systems.find((one) => one === system.toLowerCase())
      if (!known)
        throw new Problem(
          'system',
          `“${system}” is no system that we know.`,
          `Name one of ${systems.join(', ')}.`,
        )
      await withNetwork(options, async ({ network }) => {
        const port = network.gatewayPort ?? 8443
        const origin = `https://${hubAddresses(network).address4}${port === 443 ? '' : `:${port}`}`
        const todo = deviceSteps(known, {
          file: configFileName(options.name),
          origin,
          range4: network.range4,
        })
        const firewall = hubFirewall(network.listenPort)
        output.result(
          { steps: todo, firewall },
          [
            ...todo.map(({ title, commands = [] }, at) =>
              [`${at + 1}. ${title}`, ...commands.map((one) => `     ${one}`)].join('\n'),
            ),
            '',
            `On the gateway’s machine UDP ${network.listenPort} must come in, with whichever firewall it has:`,
            ...Object.entries(firewall).map(([name, command]) => `     ${name.padEnd(10)} ${command}`),
          ].join('\n'),
        )
      })
    })
}

function withConfig(command: Command): Command {
  return common(command)
    .option('--out <file>', 'write the config to a file instead of showing it')
    .option('--qr <file>', 'write the QR code as a .png or .svg picture instead of showing it')
    .option('--public-key <key>', 'of the pair that the device made itself; its private key stays there')
}

/** Shows a config, once, or writes it where it was asked for. */
async function handOver(
  output: Output,
  options: ConfigOptions & { readonly opened: Opened },
  title: (device: Device) => string,
  enrol: () => Promise<Enrolment>,
): Promise<void> {
  const { keyPlaceholder, saveFile } = await import('#enrolment/enrol.ts')
  const { checkPicture, pictureQr, terminalQr } = await import('#enrolment/qr.ts')
  if (options.qr !== undefined) checkPicture(options.qr)
  // The files are made first: a device whose only config could not be written would be of no use.
  const files: Awaited<ReturnType<typeof saveFile>>[] = []
  const enrolment = await (async () => {
    for (const file of [options.out, options.qr]) if (file !== undefined) files.push(await saveFile(file))
    return enrol()
  })().catch(async (error: unknown) => {
    for (const file of files) await file.cancel()
    throw error
  })
  const { device, config, keyMadeHere } = enrolment
  await acted(options.opened)
  const [first, second] = files
  if (options.out !== undefined) await first?.write(config)
  if (options.qr !== undefined)
    await (options.out === undefined ? first : second)?.write(await pictureQr(config, options.qr))
  const written = [options.out, options.qr].filter((file) => file !== undefined)
  const shown =
    written.length > 0
      ? `Its config is in ${written.join(' and ')}; bring it to the device, then delete it here.`
      : keyMadeHere
        ? `${await terminalQr(config)}\nScan this with the WireGuard app: it holds the device's private key and is shown this once.`
        : `${config}\nPut the device's own private key in place of ${keyPlaceholder}.`
  const { presharedKey: _, ...data } = device
  output.result(
    { device: data, ...(written.length > 0 ? { files: written } : { config }) },
    `${title(device)} at ${device.address4} and ${device.address6}.\n${shown}`,
  )
}

async function changing(
  output: Output,
  options: CommonOptions,
  change: (opened: Opened) => Promise<Device>,
  said: (device: Device) => string,
): Promise<void> {
  await withNetwork(options, async (opened) => {
    const device = await change(opened)
    await acted(opened)
    const { presharedKey: _, ...data } = device
    output.result({ device: data }, said(device))
  })
}

function describeState({ state, latestHandshake, expiresAt }: DeviceView): string {
  if (state === 'never') return 'never seen'
  if (state === 'offline') return `seen ${latestHandshake}`
  if (state === 'expired') return `expired ${expiresAt}`
  return state
}

function describePaths({ joined, paths }: DeviceView): string {
  if (!joined) return 'by the hub'
  const direct = paths.filter(({ state }) => state === 'direct').length
  return paths.length === 0 ? '-' : `${direct} of ${paths.length} direct`
}

/** In binary units, as WireGuard's own tools show them. */
function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = count === 0 ? 0 : Math.min(Math.floor(Math.log2(count) / 10), units.length - 1)
  return `${(count / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}
