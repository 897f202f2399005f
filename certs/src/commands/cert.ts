/** `sotto cert`: the CA for people and scripts, in the way of mkcert. */
import { join } from 'node:path'
import { Command } from 'commander'

export interface CertDeps {
  readonly output: {
    /** The command's result: `text` for people, or `data` as JSON where `--json` was given. */
    result(data: unknown, text: string): void
  }
  /** Directory of the certificates for the options of a command. */
  directory(options: { readonly state?: string }): string
}

interface Options {
  readonly state?: string
}

interface IssueOptions extends Options {
  readonly out: string
  readonly force?: boolean
}

export function certCommand(deps: CertDeps): Command {
  return new Command('cert')
    .description('the certificate authority of the overlay')
    .addCommand(show(deps), { isDefault: true })
    .addCommand(issue(deps))
    .addCommand(caroot(deps))
}

function show({ output, directory }: CertDeps): Command {
  return common(new Command('show'))
    .description('fingerprint, files and dates of the CA and the leaf')
    .action(async (options: Options) => {
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
          leaf
            ? `Leaf          until ${leaf.notAfter}, renewed from ${leaf.renewAt}  ${leaf.file}\n              for ${leaf.names.join(', ')}`
            : 'Leaf          none yet: the gateway issues it when it starts',
        ].join('\n'),
      )
    })
}

async function describe(directory: string) {
  const { loadAuthority } = await import('#authority.ts')
  const { namesOf, readLeaf } = await import('#leaf.ts')
  const authority = await loadAuthority(directory)
  const leaf = await readLeaf(directory)
  return {
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
    .option('--out <dir>', 'where to put NAME.crt and NAME.key', '.')
    .option('--force', 'replace files that exist')
    .action(async (names: string[], options: IssueOptions) => {
      const { loadAuthority } = await import('#authority.ts')
      const { issueLeaf } = await import('#leaf.ts')
      const leaf = await issueLeaf(await loadAuthority(directory(options)), { names })
      const files = await place(leaf, names[0] ?? '', options)
      const notAfter = leaf.notAfter.toISOString()
      output.result(
        { ...files, names, notAfter },
        `Issued for ${names.join(', ')} until ${notAfter}:\n${files.cert}\n${files.key}`,
      )
    })
}

/** Writes NAME.crt, the whole chain and for all to read, and NAME.key, for its owner alone. */
async function place(
  leaf: { readonly cert: string; readonly key: string },
  name: string,
  { out, force }: IssueOptions,
): Promise<{ readonly cert: string; readonly key: string }> {
  const { mkdir } = await import('node:fs/promises')
  const { AuthorityError } = await import('#authority-error.ts')
  const { inaccessible, readPem, writePem } = await import('#pem-file.ts')
  // As mkcert names a wildcard's files; and no file system takes all of `*`, `:` and `/`.
  const stem = name.replace(/^\*/, '_wildcard').replaceAll(/[^\w.-]/g, '_')
  const files = { cert: join(out, `${stem}.crt`), key: join(out, `${stem}.key`) }
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    throw inaccessible(`The directory ${out} can't be made`, error)
  })
  for (const file of Object.values(files))
    if (!force && (await readPem(file)) !== undefined)
      throw new AuthorityError('taken', `${file} exists.`, 'Add --force to replace it, or --out DIR.')
  await writePem(files.key, leaf.key)
  await writePem(files.cert, leaf.cert, 0o644)
  return files
}

function caroot({ output, directory }: CertDeps): Command {
  return common(new Command('caroot'))
    .description("print the CA's directory")
    .action((options: Options) => {
      const at = directory(options)
      output.result({ directory: at }, at)
    })
}

function common(command: Command): Command {
  return command.option('--state <dir>', 'state directory').option('--json', 'print the result as JSON')
}
