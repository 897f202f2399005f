/** `sotto cert`: the CA for people and scripts, in the way of mkcert. */
import { join } from 'node:path'
import { Command } from 'commander'
import type { Leaf } from '#leaf.ts'
import { authorityCommands } from './authority.ts'
import { common, type CertDeps, type CommonOptions } from './deps.ts'
import { trustCommands } from './trust.ts'

interface IssueOptions extends CommonOptions {
  readonly out: string
  readonly client?: boolean
  readonly p12?: boolean
  readonly certFile?: string
  readonly keyFile?: string
  readonly p12File?: string
  readonly passphraseFile?: string
  readonly force?: boolean
}

export function certCommand(deps: CertDeps): Command {
  const cert = new Command('cert')
    .description('the certificate authority of the overlay, in the way of mkcert')
    .addCommand(show(deps), { isDefault: true })
    .addCommand(issue(deps))
  for (const command of [...trustCommands(deps), ...authorityCommands(deps)]) cert.addCommand(command)
  return cert.addCommand(caroot(deps))
}

/** mkcert's own spelling of its flags, which have one dash, for hands that know it. */
export function fromMkcert(args: readonly string[]): string[] {
  const commands: Record<string, string> = {
    '-install': 'install',
    '-uninstall': 'uninstall',
    '-CAROOT': 'caroot',
  }
  const flags = new Set(['-client', '-p12', '-pkcs12', '-cert-file', '-key-file', '-p12-file'])
  return args.map((arg) => commands[arg] ?? (flags.has(arg) ? `-${arg.replace('pkcs12', 'p12')}` : arg))
}

function show({ output, directory }: CertDeps): Command {
  return common(new Command('show'))
    .description('fingerprint, files and dates of the CA and the leaf')
    .action(async (options: CommonOptions) => {
      const data = await describe(directory(options))
      const { root, intermediate, leaf, permitted } = data
      output.result(
        data,
        [
          `CA            ${data.name}`,
          `SHA-256       ${data.fingerprint}`,
          `Signs for     ${[...permitted.dns, ...permitted.ip].join(', ')}, and nothing else`,
          `Root          until ${root.notAfter}  ${root.file}`,
          `Intermediate  until ${intermediate.notAfter}  ${intermediate.file}`,
          `Root key      ${rootKeyTexts[data.rootKey]}`,
          leaf
            ? `Leaf          until ${leaf.notAfter}, renewed from ${leaf.renewAt}  ${leaf.file}\n              for ${leaf.names.join(', ')}`
            : 'Leaf          none yet: the gateway issues it when it starts',
          ...data.roots
            .slice(1)
            .map((other) => `Trusted too   ${other.name}, until ${other.notAfter}  ${other.file}`),
          ...data.warnings.map(
            ({ what, daysLeft, remedy }) => `! The ${what} ends in ${daysLeft} days. ${remedy}`,
          ),
        ].join('\n'),
      )
    })
}

const rootKeyTexts = {
  open: 'in the open: ./sotto cert protect',
  sealed: 'sealed under a passphrase',
  away: 'put away',
} as const

async function describe(directory: string) {
  const { loadAuthority } = await import('#authority.ts')
  const { namesOf, readLeaf } = await import('#leaf.ts')
  const { expiryWarnings } = await import('#expiry.ts')
  const { resumeSwitch, rootFiles } = await import('#rollover.ts')
  const { rootKeyState } = await import('#root-key.ts')
  const { rootOf } = await import('#trust/trust.ts')
  const { X509Certificate } = await import('node:crypto')
  await resumeSwitch(directory)
  const authority = await loadAuthority(directory)
  const leaf = await readLeaf(directory)
  return {
    rootKey: await rootKeyState(directory),
    roots: (await rootFiles(directory)).map(({ file, pem }) => ({
      name: rootOf(pem, file).name,
      fingerprint: rootOf(pem, file).fingerprint,
      notAfter: new X509Certificate(pem).validToDate.toISOString(),
      file,
    })),
    warnings: expiryWarnings(authority, leaf),
    name: authority.name,
    fingerprint: authority.fingerprint,
    permitted: authority.permitted,
    root: { file: join(directory, 'root.crt'), notAfter: authority.rootNotAfter.toISOString() },
    intermediate: {
      file: join(directory, 'intermediate.crt'),
      notAfter: authority.intermediateNotAfter.toISOString(),
    },
    leaf: leaf
      ? {
          file: join(directory, 'leaf.crt'),
          names: namesOf(leaf.cert),
          notAfter: leaf.notAfter.toISOString(),
          renewAt: leaf.renewAt.toISOString(),
        }
      : null,
  }
}

function issue({ output, directory }: CertDeps): Command {
  return common(new Command('issue'))
    .description('issue a certificate for names and addresses of the overlay')
    .argument('<names...>', 'for example nas.sotto.internal 10.77.0.5')
    .option('--client', 'also for showing who a client is')
    .option(
      '--p12',
      'as one PKCS#12 file, with the chain; its password is changeit, as mkcert’s, or from --passphrase-file',
    )
    .option('--out <dir>', 'where to put NAME.crt and NAME.key', '.')
    .option('--cert-file <file>', 'where to put the certificate')
    .option('--key-file <file>', 'where to put the key')
    .option('--p12-file <file>', 'where to put the PKCS#12 file')
    .option('--passphrase-file <file>', 'the PKCS#12 file’s password')
    .option('--force', 'replace files that exist')
    .action(async (names: string[], options: IssueOptions) => {
      const { loadAuthority } = await import('#authority.ts')
      const { issueLeaf } = await import('#leaf.ts')
      const authority = await loadAuthority(directory(options))
      const leaf = await issueLeaf(authority, { names, client: options.client === true })
      const files = await place(leaf, names[0] ?? '', options)
      const notAfter = leaf.notAfter.toISOString()
      output.result(
        { ...files, names, notAfter },
        `Issued for ${names.join(', ')} until ${notAfter}:\n${Object.values(files).join('\n')}`,
      )
    })
}

/** Writes NAME.crt, the whole chain and for all to read, and NAME.key, for its owner alone; or both in one. */
async function place(leaf: Leaf, name: string, options: IssueOptions): Promise<Record<string, string>> {
  const { mkdir } = await import('node:fs/promises')
  const { AuthorityError } = await import('#authority-error.ts')
  const { inaccessible, readPem, writePem } = await import('#pem-file.ts')
  const { out, force } = options
  // As mkcert names a wildcard's files; and no file system takes all of `*`, `:` and `/`.
  const stem = name.replace(/^\*/, '_wildcard').replaceAll(/[^\w.-]/g, '_')
  const files: Record<string, string> = options.p12
    ? { p12: options.p12File ?? join(out, `${stem}.p12`) }
    : { cert: options.certFile ?? join(out, `${stem}.crt`), key: options.keyFile ?? join(out, `${stem}.key`) }
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    throw inaccessible(`The directory ${out} can't be made`, error)
  })
  for (const file of Object.values(files))
    if (!force && (await readPem(file)) !== undefined)
      throw new AuthorityError('taken', `${file} exists.`, 'Add --force to replace it, or --out DIR.')
  if (files.p12 !== undefined) {
    const { readPassphrase } = await import('#passphrase.ts')
    const { makePkcs12 } = await import('#pkcs12.ts')
    const password =
      options.passphraseFile === undefined
        ? 'changeit'
        : await readPassphrase(options, { what: files.p12, confirm: false })
    await writePem(files.p12, await makePkcs12(leaf, name, password))
  }
  if (files.key !== undefined) await writePem(files.key, leaf.key)
  if (files.cert !== undefined) await writePem(files.cert, leaf.cert, 0o644)
  return files
}

function caroot({ output, directory }: CertDeps): Command {
  return common(new Command('caroot'))
    .description("print the CA's directory")
    .action((options: CommonOptions) => {
      const at = directory(options)
      output.result({ directory: at }, at)
    })
}
