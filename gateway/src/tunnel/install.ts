/** `sotto lend` as a service of the machine: a systemd unit, a launchd agent, or a task of Windows. */
import { join } from 'node:path'
import { Problem } from '@sotto/provisioning/problem.ts'
import type { here, ServiceFile, ServicePlan } from '#daemon/plan.ts'
import { commandLine, startUnit, stopUnit } from '#daemon/systemd.ts'

export interface ServiceWish extends ReturnType<typeof here> {
  /** The lender's name: a machine may have several. */
  readonly name: string
  /** The program and its first arguments, absolute. */
  readonly program: readonly string[]
  /** Options of `sotto lend`; no key among them. */
  readonly options: readonly string[]
  /** The key goes into a file of its own that its owner alone may read: units are read by everybody. */
  readonly key: string
  /** Whether it is for the machine, or for the one person. */
  readonly root: boolean
}

/** What there is to write and to run. */
export function planService(wish: ServiceWish): ServicePlan {
  const { name, system, root, home } = wish
  const folder =
    system === 'linux'
      ? root
        ? '/etc/sotto'
        : join(home, '.config', 'sotto')
      : system === 'darwin'
        ? join(home, 'Library', 'Application Support', 'Sotto')
        : join(home, 'AppData', 'Local', 'Sotto')
  const key: ServiceFile = { path: join(folder, `lend-${name}.key`), text: `${wish.key}\n`, mode: 0o600 }
  const command = [...wish.program, 'lend', ...wish.options, '--key-file', key.path]
  if (system === 'linux') return systemd(wish, key, command)
  if (system === 'darwin') return launchd(wish, key, command)
  if (system === 'win32') return windows(wish, key, command)
  throw new Problem('lend_install', `There is no service to make on ${system}.`, 'Run ./sotto lend there.')
}

function systemd(
  { name, root, home }: ServiceWish,
  key: ServiceFile,
  command: readonly string[],
): ServicePlan {
  const unit = `sotto-lend-${name}.service`
  const path = root ? `/etc/systemd/system/${unit}` : join(home, '.config', 'systemd', 'user', unit)
  const control = root ? ['systemctl'] : ['systemctl', '--user']
  const text = `[Unit]
Description=Lends this machine's models to a Sotto gateway (${name})
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=${commandLine(command)}
Restart=always
RestartSec=30
NoNewPrivileges=yes
PrivateTmp=yes

[Install]
WantedBy=${root ? 'multi-user.target' : 'default.target'}
`
  return {
    files: [key, { path, text, mode: 0o644 }],
    // A person's own else ends when they log out.
    start: [...startUnit(control, unit), ...(root ? [] : [['loginctl', 'enable-linger']])],
    stop: stopUnit(control, unit),
    byHand: undefined,
  }
}

function launchd({ name, home }: ServiceWish, key: ServiceFile, command: readonly string[]): ServicePlan {
  const label = `dev.sotto.lend.${name}`
  const path = join(home, 'Library', 'LaunchAgents', `${label}.plist`)
  const log = join(home, 'Library', 'Logs', `sotto-lend-${name}.log`)
  const text = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${escaped(label)}</string>
  <key>ProgramArguments</key>
  <array>
${command.map((part) => `    <string>${escaped(part)}</string>`).join('\n')}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>ThrottleInterval</key>
  <integer>30</integer>
  <key>StandardErrorPath</key>
  <string>${escaped(log)}</string>
</dict>
</plist>
`
  return {
    files: [key, { path, text, mode: 0o644 }],
    start: [
      ['launchctl', 'unload', path],
      ['launchctl', 'load', '-w', path],
    ],
    stop: [['launchctl', 'unload', '-w', path]],
    byHand: undefined,
  }
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** A task needs the person's consent, so it is printed. */
function windows({ name }: ServiceWish, key: ServiceFile, command: readonly string[]): ServicePlan {
  const task = `Sotto lend ${name}`
  const run = command.map((part) => (/[\s"]/.test(part) ? `\\"${part}\\"` : part)).join(' ')
  return {
    files: [key],
    start: [],
    stop: [],
    byHand: `schtasks /Create /TN "${task}" /SC ONLOGON /RL LIMITED /TR "${run}"\nschtasks /Run /TN "${task}"\n\nTo end it: schtasks /Delete /F /TN "${task}"`,
  }
}
