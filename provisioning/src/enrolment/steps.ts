/** What a person does on each system, word for word: pure. Sources: wg-quick(8), nmcli(1), the WireGuard apps. */

export const systems = ['linux', 'macos', 'windows', 'ios', 'android'] as const
export type System = (typeof systems)[number]

export interface Step {
  readonly title: string
  readonly commands?: readonly string[]
}

export interface StepsFor {
  /** The device's config. */
  readonly file: string
  /** `https://…` of the gateway. */
  readonly origin: string
  /** The overlay's IPv4 range, CIDR. */
  readonly range4: string
}

/** A name that wg-quick and the apps take: 15 characters of these, and `.conf` (wg-quick(8)). */
export function configFileName(deviceName: string): string {
  const stem = deviceName
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9_=+.-]+/g, '-')
    .slice(0, 15)
    .replaceAll(/^[-.]+|[-.]+$/g, '')
  return `${stem || 'sotto'}.conf`
}

export function deviceSteps(system: System, { file, origin, range4 }: StepsFor): Step[] {
  const name = file.replace(/^.*\//, '').replace(/\.conf$/, '')
  const trust: Step = { title: `Trust the CA: open http${origin.slice(5)}/enrol and follow it.` }
  const open: Step = { title: `Open ${origin}` }
  switch (system) {
    case 'linux':
      return [
        { title: 'Install WireGuard', commands: ['sudo apt-get install wireguard-tools'] },
        {
          title: 'Bring the tunnel up, now and at each start',
          commands: [
            `sudo install -m 600 ${file} /etc/wireguard/${name}.conf`,
            `sudo systemctl enable --now wg-quick@${name}`,
          ],
        },
        {
          title: 'Or with NetworkManager',
          commands: [`nmcli connection import type wireguard file ${file}`],
        },
        {
          title: 'If your other devices shall reach this one, let them in',
          commands: [`sudo ufw allow from ${range4}`],
        },
        trust,
        open,
      ]
    case 'macos':
      return [
        { title: 'Install WireGuard from the App Store.' },
        { title: `Import tunnel(s) from file…, choose ${file}, and Activate.` },
        { title: 'Or in a terminal', commands: ['brew install wireguard-tools', `sudo wg-quick up ${file}`] },
        trust,
        open,
      ]
    case 'windows':
      return [
        { title: 'Install WireGuard from https://www.wireguard.com/install/' },
        { title: `Import tunnel(s) from file…, choose ${file}, and Activate.` },
        {
          title: 'Or as administrator',
          commands: [`wireguard /installtunnelservice C:\\path\\to\\${name}.conf`],
        },
        {
          title: 'If your other devices shall reach this one, let them in: as administrator',
          commands: [
            `netsh advfirewall firewall add rule name="Sotto devices" dir=in action=allow remoteip=${range4}`,
          ],
        },
        trust,
        open,
      ]
    case 'ios':
    default:
      return [
        { title: `Install WireGuard from the ${system === 'ios' ? 'App Store' : 'Play Store or F-Droid'}.` },
        { title: '+ › Create from QR code (Scan from QR code), scan the code, name it, and switch it on.' },
        trust,
        open,
      ]
  }
}

/** How the hub's machine lets its UDP port in. */
export function hubFirewall(
  port: number,
): Readonly<Record<'ufw' | 'firewalld' | 'nftables' | 'iptables' | 'macos' | 'windows', string>> {
  return {
    ufw: `sudo ufw allow ${port}/udp`,
    firewalld: `sudo firewall-cmd --permanent --add-port=${port}/udp && sudo firewall-cmd --reload`,
    nftables: `sudo nft insert rule inet filter input udp dport ${port} accept`,
    iptables: `sudo iptables -I INPUT -p udp --dport ${port} -j ACCEPT`,
    macos: `echo 'pass in proto udp to any port ${port}' | sudo pfctl -a sotto -f -`,
    windows: `netsh advfirewall firewall add rule name="Sotto" dir=in action=allow protocol=UDP localport=${port}`,
  }
}
