/** What `sotto doctor` looks at where limits are counted in Valkey. */
import { failed, ok, skipped, warning, type Check, type Context } from '@sotto/provisioning/doctor/check.ts'
import { readConfig } from '../config.ts'
import { connectedTo } from './valkey.ts'

export const valkey = {
  code: 'valkey',
  name: 'Valkey',
  async run({ state }: Pick<Context, 'state'>) {
    const { valkey: config } = readConfig({ state: state.directory })
    if (!config) return skipped('config.yaml names none: this gateway counts limits by itself')
    const { host } = new URL(config.url)
    try {
      const info = await connectedTo(config, (client) => client.info())
      const [, version = ''] = /^(?:valkey|redis)_version:(\S+)/m.exec(info) ?? []
      const [, policy = ''] = /^maxmemory_policy:(\S+)/m.exec(info) ?? []
      if (policy !== 'noeviction')
        return warning(
          `${host} may forget what is counted when its memory is full (maxmemory-policy ${policy})`,
          'valkey-cli config set maxmemory-policy noeviction',
        )
      return ok(`${version} at ${host}`)
    } catch (error) {
      return failed(
        `None answers at ${host} (${error instanceof Error ? error.message : String(error)}): whoever has limits is refused`,
        'Start it (sudo systemctl start valkey-server), or mend valkey in config.yaml',
      )
    }
  },
} satisfies Check
