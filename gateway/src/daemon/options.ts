/** The options of `sotto up`, as a unit says them again: absolute, and without a secret. */
import { resolve } from 'node:path'
import { Problem } from '@sotto/provisioning/problem.ts'
import type { GatewayConfig } from '#config.ts'

/** Throws a `Problem` for an address with a password in it: units are read by everybody. */
export function optionsAgain(config: GatewayConfig): string[] {
  const { port, loopback, config: file } = config
  const named = (['endpoint', 'range', 'ollama', 'whisper', 'admin'] as const).flatMap((option) => {
    const value = config[option]
    if (value === undefined) return []
    checkSecret(option, value)
    return [`--${option}`, value]
  })
  return [
    '--port',
    String(port),
    ...(loopback ? ['--loopback'] : []),
    ...named,
    ...(file === undefined ? [] : ['--config', resolve(file)]),
    // The code of a first device would be in the journal.
    '--no-first-device',
  ]
}

/** Whether anything of it listens below 1024, for which a service that is not root needs a capability. */
export function hasLowPort({ port, file }: GatewayConfig): boolean {
  return [port, file.tunnel?.listen.port ?? 0].some((one) => one > 0 && one < 1024)
}

function checkSecret(option: string, value: string): void {
  const { username, password } = URL.parse(value) ?? { username: '', password: '' }
  if (username === '' && password === '') return
  throw new Problem(
    'service_secret',
    `--${option} has a password in it, and everybody on this machine may read a unit.`,
    'Write it into config.yaml of the state directory, which the service alone may read.',
  )
}
