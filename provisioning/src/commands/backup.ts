/** `sotto backup FILE` and `sotto restore FILE`. */
import { Command } from 'commander'
import type { Output } from './output.ts'

interface Options {
  readonly state?: string
  readonly passphraseFile?: string
}

export interface BackupDeps {
  readonly output: Output
  readonly progress: {
    step<T>(title: string, task: () => Promise<T>, done: (result: T) => string): Promise<T>
  }
}

const common = (command: Command): Command =>
  command
    .argument('<file>')
    .option('--state <dir>', 'state directory')
    .option('--passphrase-file <file>', 'read the passphrase from a file instead of the terminal')
    .option('--json', 'print the result as JSON')

export function backupCommand({ output, progress }: BackupDeps): Command {
  return common(new Command('backup'))
    .description('write keys, devices, people, rules and the CA to one file, sealed under a passphrase')
    .action(async (file: string, options: Options) => {
      const { readPassphrase } = await import('@sotto/certs/passphrase.ts')
      const { backUp, checkBackup } = await import('#backup.ts')
      const { openState } = await import('#state.ts')
      const state = openState(options.state)
      await checkBackup(state, file)
      const passphrase = await readPassphrase(options, { what: 'the backup', confirm: true })
      const summary = await progress.step(
        'Backup',
        () => backUp(state, file, passphrase),
        ({ members }) => `${members} files`,
      )
      output.result(
        summary,
        `${file} holds the whole network, sealed. Keep it elsewhere, and the passphrase apart from it: without it nobody can open it, and with it anyone is the hub.\nOn another machine: sudo ./sotto restore ${file}`,
      )
    })
}

export function restoreCommand({ output, progress }: BackupDeps): Command {
  return common(new Command('restore'))
    .description('put a backup in place on a machine that has no network yet')
    .action(async (file: string, options: Options) => {
      const { readPassphrase } = await import('@sotto/certs/passphrase.ts')
      const { restore } = await import('#backup.ts')
      const { defaultStateDirectory } = await import('#state.ts')
      const passphrase = await readPassphrase(options, { what: 'the backup', confirm: false })
      const state = await progress.step(
        'Restore',
        () => restore(options.state ?? defaultStateDirectory(), file, passphrase),
        ({ directory }) => directory,
      )
      output.result(
        { state: state.directory },
        `Restored to ${state.directory}. Stop the gateway on the old machine, then start this one, with --endpoint HOST if it is reached under another address.`,
      )
    })
}
