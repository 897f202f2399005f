/** `sotto cert install|uninstall|check`: whether this machine trusts the CA. */
import { Command } from 'commander'
import type { Root, TrustStore } from '#trust/store.ts'
import { common, type CertDeps, type CommonOptions } from './deps.ts'

interface Options extends CommonOptions {
  readonly ca?: string
}

export function trustCommands(deps: CertDeps): Command[] {
  return [install(deps), uninstall(deps), check(deps)]
}

const withCa = (command: Command): Command =>
  common(command).option(
    '--ca <file>',
    'a root from another machine, as its /ca.crt gave it (default: this gateway’s)',
  )

function install(deps: CertDeps): Command {
  return withCa(new Command('install'))
    .description('let this machine trust the CA: its system store, Firefox and Chromium')
    .action(async (options: Options) => {
      await eachStore(deps, options, async (store, root) => {
        if (await store.has(root)) return 'trusted already'
        await store.install(root)
        return 'trusted now'
      })
    })
}

function uninstall(deps: CertDeps): Command {
  return withCa(new Command('uninstall'))
    .description('let this machine trust the CA no more')
    .action(async (options: Options) => {
      await eachStore(deps, options, async (store, root) => {
        if (!(await store.has(root))) return 'not there'
        await store.uninstall(root)
        return 'removed'
      })
    })
}

function check(deps: CertDeps): Command {
  return withCa(new Command('check'))
    .description('whether this machine trusts the CA, store by store')
    .action(async (options: Options) => {
      const results = await eachStore(deps, options, async (store, root) =>
        (await store.has(root)) ? 'trusted' : 'not trusted',
      )
      if (results.some(({ result }) => result === 'not trusted')) process.exitCode = 1
    })
}

interface Result {
  readonly root: string
  readonly store: string
  readonly result: string
}

/** A store that can't be changed does not keep the others from it; the command fails all the same. */
async function eachStore(
  { output, directory }: CertDeps,
  options: Options,
  act: (store: TrustStore, root: Root) => Promise<string>,
): Promise<Result[]> {
  const { thisMachine, trustStores } = await import('#trust/trust.ts')
  const stores = trustStores(await thisMachine())
  const results: Result[] = []
  for (const root of await roots(directory, options))
    for (const store of stores) {
      const result = await act(store, root).catch((error: unknown) => {
        process.exitCode = 1
        if (!(error instanceof Error)) return String(error)
        return `${error.message}${'remedy' in error ? ` → ${String(error.remedy)}` : ''}`
      })
      results.push({ root: root.name, store: store.name, result })
    }
  const lines = results.map(({ root, store, result }) => `${store}: ${result} (${root})`)
  output.result(
    { results },
    [
      ...lines,
      ...(lines.length === 0 ? ['No trust store was found here: install the CA by hand.'] : []),
      'Node programs: NODE_USE_SYSTEM_CA=1, or NODE_EXTRA_CA_CERTS with the file. Java: keytool -importcert -cacerts -file FILE',
    ].join('\n'),
  )
  return results
}

async function roots(directory: CertDeps['directory'], options: Options): Promise<Root[]> {
  const { rootOf } = await import('#trust/trust.ts')
  if (options.ca !== undefined) {
    const { AuthorityError } = await import('#authority-error.ts')
    const { readPem } = await import('#pem-file.ts')
    const pem = await readPem(options.ca)
    if (pem === undefined)
      throw new AuthorityError('missing', `There is no ${options.ca}.`, 'Name the file with --ca.')
    return [rootOf(pem, options.ca)]
  }
  const { loadAuthority } = await import('#authority.ts')
  const { rootFiles } = await import('#rollover.ts')
  const at = directory(options)
  await loadAuthority(at)
  return (await rootFiles(at)).map(({ file, pem }) => rootOf(pem, file))
}
