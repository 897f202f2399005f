import { readFile } from 'node:fs/promises'
import { ok, skipped, warning, type Check } from './check.ts'

const settings = '/proc/sys/net'

export const forwarding: Check = {
  code: 'forwarding',
  name: 'Forwarding',
  async run({ network: { interface: name } }) {
    const [four, six, forced] = await Promise.all(
      [`ipv4/conf/${name}/forwarding`, 'ipv6/conf/all/forwarding', `ipv6/conf/${name}/force_forwarding`].map(
        read,
      ),
    )
    if (four === undefined) return skipped('the interface is down')
    const off = [
      four === '1' ? [] : [`net.ipv4.conf.${name}.forwarding`],
      six === '1' || forced === '1' || six === undefined ? [] : ['net.ipv6.conf.all.forwarding'],
    ].flat()
    if (off.length === 0) return ok('devices reach each other by this machine')
    return warning(
      `Devices can’t reach each other by this machine: ${off.join(' and ')} off`,
      `sudo sysctl -w ${off.map((setting) => `${setting}=1`).join(' ')} (in a container: on its host)`,
    )
  },
}

async function read(setting: string): Promise<string | undefined> {
  return readFile(`${settings}/${setting}`, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  )
}
