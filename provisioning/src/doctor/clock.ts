import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { failed, ok, warning, type Check } from './check.ts'

const setClock = 'sudo timedatectl set-ntp true'

export const clock: Check = {
  code: 'clock',
  name: 'Clock',
  async run({ now, state }) {
    const pem = await readFile(join(state.certs, 'root.crt'), 'utf8').catch(() => undefined)
    const made = pem === undefined ? undefined : new X509Certificate(pem).validFromDate
    if (made && now < made)
      return failed(
        `It is ${now.toISOString()} here, before the CA was made (${made.toISOString()})`,
        setClock,
      )
    const { failed: unknown, stdout } = await execa(
      'timedatectl',
      ['show', '-p', 'NTPSynchronized', '--value'],
      { reject: false },
    )
    if (!unknown && stdout.trim() === 'no')
      return warning('The clock is kept by nobody; certificates and one-time links go by it', setClock)
    return ok(now.toISOString())
  },
}
