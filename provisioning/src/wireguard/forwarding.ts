/**
 * Lets the kernel pass packets from one device to another, and no others. IPv4 is opened for our interface
 * alone. IPv6 is too where the kernel can (`force_forwarding`, Linux 6.17); before that it is one switch for
 * the whole machine, so the firewall closes for others what was closed, and the switch is turned back.
 * Source: Linux, Documentation/networking/ip-sysctl.rst.
 */
import { existsSync } from 'node:fs'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { opened6Mark, readRules } from './firewall.ts'

const settings = '/proc/sys/net'

export interface Forwarding {
  /** Whether IPv6 forwarding is on for our sake alone. */
  readonly opened6: boolean
}

export async function allowForwarding(name: string): Promise<Forwarding> {
  await set(join(settings, 'ipv4/conf', name, 'forwarding'), '1')
  // In and out by one interface is what a hub is for: it shall not tell devices of a shorter way.
  await set(join(settings, 'ipv4/conf', name, 'send_redirects'), '0')
  const forced = join(settings, 'ipv6/conf', name, 'force_forwarding')
  if (existsSync(forced)) {
    await set(forced, '1')
    return { opened6: false }
  }
  const all = join(settings, 'ipv6/conf/all/forwarding')
  if (!existsSync(all)) return { opened6: false }
  // After a crash it is on already, and the rules that were left tell that it is our doing.
  if ((await read(all)) === '1') return { opened6: (await readRules(name))?.includes(opened6Mark) ?? false }
  await keepRouterAdvertisements()
  await set(all, '1')
  return { opened6: true }
}

export async function endForwarding({ opened6 }: Forwarding): Promise<void> {
  if (opened6) await set(join(settings, 'ipv6/conf/all/forwarding'), '0')
}

/** A machine that forwards ignores router advertisements, and with them its own address, unless told 2. */
async function keepRouterAdvertisements(): Promise<void> {
  const interfaces = join(settings, 'ipv6/conf')
  for (const name of await readdir(interfaces)) {
    const setting = join(interfaces, name, 'accept_ra')
    if ((await read(setting)) === '1') await set(setting, '2')
  }
}

/** A container may show a setting and not let it be changed: then it stays, and doctor tells. */
async function set(file: string, value: string): Promise<void> {
  if ((await read(file)) !== value) await writeFile(file, value).catch(() => {})
}

async function read(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  )
}
