/** `sotto up`: what `npm start` runs. */
import type { Output } from '@sotto/provisioning/commands/output.ts'
import { Command } from 'commander'
import type { Gateway, Progress } from '#main.ts'

export interface UpDeps {
  readonly output: Output
  readonly progress: Progress
  /** Builds the web app where it is stale; resolves to its directory. */
  web(): Promise<string>
  /** Resolves when the process is asked to end. */
  asked(): Promise<void>
}

export function upCommand(deps: UpDeps): Command {
  return withUpOptions(new Command('up'))
    .description('start the gateway; make what is missing first')
    .option('--json', 'print what was started as JSON')
    .action(async (options: Record<string, unknown>) => {
      const { readConfig } = await import('#config.ts')
      const { isSupervised, tellReady } = await import('#daemon/ready.ts')
      const { start } = await import('#main.ts')
      const config = readConfig(options)
      // From here on: a stop in the middle of a start must undo it, too.
      const asked = deps.asked()
      const web = await deps.web()
      const gateway = await start(config, {
        web,
        admin: config.admin ?? (await whoStarts()),
        progress: deps.progress,
      })
      const { overlay } = gateway
      // What only answers on loopback would be no gateway, and nobody there to read why: it is tried again.
      if (overlay instanceof Error && overlay.code !== 'loopback' && isSupervised()) {
        await gateway.close()
        throw overlay
      }
      gateway.engines.onChange((states) => {
        deps.progress.notice(`Ollama ${describe(states.chat)} · Whisper ${describe(states.transcription)}`)
      })
      deps.output.result(summary(gateway), await welcome(gateway))
      if (isSupervised()) await tellReady(`Serving ${gateway.origins.join(' ')}`)
      await asked
      await gateway.close()
    })
}

/** What `sotto up` and the service that runs it can be told. */
export function withUpOptions(command: Command): Command {
  return command
    .option('--state <dir>', 'state directory')
    .option('--port <n>', 'HTTPS port (default: 8443)')
    .option('--loopback', 'serve this machine alone, without WireGuard')
    .option(
      '--endpoint <host>',
      'address or name, with or without :port, under which devices reach this machine',
    )
    .option('--range <cidr>', 'IPv4 range of a new network, /16 to /29 (default: a free 10.77.x.0/24)')
    .option('--ollama <url>', 'Ollama (default: OLLAMA_HOST, else http://127.0.0.1:11434)')
    .option(
      '--whisper <url>',
      "speech to text: whisper.cpp's server, an OpenAI-compatible one, or tcp:// for Wyoming",
    )
    .option(
      '--config <file>',
      'backends, aliases, services and limits (default: config.yaml in the state directory)',
    )
    .option('--admin <name>', 'whose gateway a new one is (default: who starts it)')
    .option('--no-first-device', 'leave the first device to `sotto device add`: nobody sees its code here')
}

/** The name of the person at the terminal. */
export async function whoStarts(): Promise<string> {
  const { userInfo } = await import('node:os')
  if (process.env.SUDO_USER !== undefined) return process.env.SUDO_USER
  try {
    return userInfo().username
  } catch {
    // A container's user may have a number and no name.
    return 'admin'
  }
}

function summary({ origins, fingerprint, overlay, firstDevice, engines, state }: Gateway): object {
  return {
    origins,
    fingerprint,
    state: state.directory,
    overlay:
      overlay instanceof Error
        ? { problem: overlay.message, remedy: overlay.remedy }
        : { implementation: overlay.implementation },
    engines: engines.states,
    ...(firstDevice && { firstDevice: { name: firstDevice.device.name, config: firstDevice.config } }),
  }
}

async function welcome(gateway: Gateway): Promise<string> {
  const { origins, fingerprint, firstDevice, network } = gateway
  const parts = [checklist(gateway)]
  if (firstDevice) {
    const { terminalQr } = await import('@sotto/provisioning/enrolment/qr.ts')
    parts.push(
      await terminalQr(firstDevice.config),
      `Your first device, “${firstDevice.device.name}”: scan this with its WireGuard app. It holds the device's private key and is
shown this once. It dials ${network.endpoint} (UDP): forward that port here if devices come from outside.`,
    )
  }
  parts.push(`Open      ${origins[0]}
Trust     ${origins[0]?.replace('https:', 'http:')}/enrol
          SHA-256 ${fingerprint.slice(0, 47)}
                  ${fingerprint.slice(48)}
Add       ./sotto device add NAME
Stop      Ctrl-C`)
  return parts.join('\n\n')
}

function checklist({ overlay, engines, network }: Gateway): string {
  const { chat, transcription } = engines.states
  const lines =
    overlay instanceof Error
      ? [entry(overlay.code === 'loopback' ? '·' : '✘', 'WireGuard', overlay.message), hint(overlay.remedy)]
      : [
          entry(
            '✔',
            'WireGuard',
            `${network.interface} (${overlay.implementation}), UDP port ${network.listenPort}`,
          ),
        ]
  lines.push(entry(mark(chat), 'Ollama', describe(chat)), hint(chat.remedy))
  lines.push(entry(mark(transcription), 'Whisper', describe(transcription)), hint(transcription.remedy))
  return lines.filter(Boolean).join('\n')
}

function describe(state: Gateway['engines']['states']['chat']): string {
  if (state.kind === 'demo') return `not found: a demo engine answers. ${state.problem ?? ''}`.trim()
  if (!state.ready) return state.problem ?? 'not ready'
  const models = state.models.length > 0 ? `: ${state.models.join(', ')}` : ''
  return `ready (${state.kind}${models})`
}

function mark({ kind, ready }: Gateway['engines']['states']['chat']): string {
  return kind !== 'demo' && ready ? '✔' : '✘'
}

function entry(sign: string, name: string, text: string): string {
  return `${sign} ${name.padEnd(9)} ${text}`
}

function hint(remedy: string | undefined): string {
  return remedy ? `            → ${remedy}` : ''
}
