/** `sotto cert protect|unprotect|renew|rollover`: the CA's own life. */
import { Command } from 'commander'
import { common, type CertDeps, type CommonOptions } from './deps.ts'

interface Options extends CommonOptions {
  readonly passphraseFile?: string
}

export function authorityCommands(deps: CertDeps): Command[] {
  return [protect(deps), unprotect(deps), renew(deps), rollover(deps)]
}

const withPassphrase = (command: Command): Command =>
  common(command).option(
    '--passphrase-file <file>',
    'read the passphrase from a file instead of the terminal',
  )

const rootKey = 'the root key'

function protect({ output, directory }: CertDeps): Command {
  return withPassphrase(new Command('protect'))
    .description('seal the root key under a passphrase; day to day it is not needed')
    .action(async (options: Options) => {
      const { readPassphrase } = await import('#passphrase.ts')
      const { sealRootKey } = await import('#root-key.ts')
      const at = directory(options)
      await sealRootKey(at, await readPassphrase(options, { what: rootKey, confirm: true }))
      output.result(
        { rootKey: 'sealed' },
        `The root key is sealed in ${at}/root.key.age. Move that file to a safe place if you like: it is needed for a roll-over and to renew the intermediate.`,
      )
    })
}

function unprotect({ output, directory }: CertDeps): Command {
  return withPassphrase(new Command('unprotect'))
    .description('take the passphrase off the root key')
    .action(async (options: Options) => {
      const { readPassphrase } = await import('#passphrase.ts')
      const { openRootKey } = await import('#root-key.ts')
      await openRootKey(directory(options), await readPassphrase(options, { what: rootKey, confirm: false }))
      output.result({ rootKey: 'open' }, 'The root key has no passphrase any more.')
    })
}

function renew({ output, directory }: CertDeps): Command {
  return withPassphrase(new Command('renew'))
    .description('renew the intermediate from the root key; devices need nothing new')
    .action(async (options: Options) => {
      const { readPassphrase } = await import('#passphrase.ts')
      const { renewIntermediate } = await import('#rollover.ts')
      const { readRootKey } = await import('#root-key.ts')
      const at = directory(options)
      const key = await readRootKey(at, () => readPassphrase(options, { what: rootKey, confirm: false }))
      const { intermediateNotAfter } = await renewIntermediate(at, key)
      const notAfter = intermediateNotAfter.toISOString()
      output.result(
        { intermediate: { notAfter } },
        `The intermediate holds until ${notAfter}. A running gateway takes it up within a minute.`,
      )
    })
}

function rollover({ output, directory }: CertDeps): Command {
  return common(new Command('rollover'))
    .description('replace the CA: begin, let every device trust both roots, then --finish')
    .option('--finish', 'put the new CA in place; the old root stays trusted while it holds')
    .action(async (options: CommonOptions & { finish?: boolean }) => {
      const { beginRollover, finishRollover } = await import('#rollover.ts')
      const at = directory(options)
      const authority = await (options.finish ? finishRollover(at) : beginRollover(at))
      const data = {
        name: authority.name,
        fingerprint: authority.fingerprint,
        finished: options.finish === true,
      }
      output.result(
        data,
        options.finish
          ? `${authority.name} is in place. A running gateway takes it up within a minute, or when it is started again.`
          : [
              `${authority.name} is ready beside the one in use:`,
              `SHA-256 ${authority.fingerprint}`,
              'From now on /enrol and its files give both roots. Let every device install them, then: ./sotto cert rollover --finish',
            ].join('\n'),
      )
    })
}
