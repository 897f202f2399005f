/** `sotto cert`: the CA for people and scripts, in the way of mkcert. */
import { Command } from 'commander'

export interface CertDeps {
  readonly output: { result(data: unknown, text: string): void }
  /** Directory of the certificates for the options of a command. */
  directory(options: { readonly state?: string }): string
}

interface Options {
  readonly state?: string
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
    .description('fingerprint, file and dates of the CA')
    .action(async (options: Options) => {
      const { join } = await import('node:path')
      const { loadAuthority, permittedBy } = await import('../authority.ts')
      const at = directory(options)
      const authority = await loadAuthority(at)
      const permitted = permittedBy(authority)
      const data = {
        name: authority.name,
        fingerprint: authority.fingerprint,
        root: join(at, 'root.crt'),
        notAfter: authority.notAfter.toISOString(),
        permitted,
      }
      output.result(
        data,
        [
          `CA           ${data.name}`,
          `SHA-256      ${data.fingerprint}`,
          `Certificate  ${data.root}`,
          `Until        ${data.notAfter}`,
          `Signs for    ${[...permitted.dns, ...permitted.ip].join(', ')}, and nothing else`,
        ].join('\n'),
      )
    })
}

function issue({ output, directory }: CertDeps): Command {
  return common(new Command('issue'))
    .description('issue a certificate for names and addresses of the overlay')
    .argument('<names...>')
    .option('--out <dir>', 'where to put NAME.crt and NAME.key', '.')
    .option('--force', 'replace files that exist')
    .action(async (names: string[], options: Options & { out: string; force?: boolean }) => {
      const { existsSync } = await import('node:fs')
      const { join } = await import('node:path')
      const { AuthorityError, loadAuthority, writePrivate } = await import('../authority.ts')
      const { issueLeaf } = await import('../leaf.ts')
      const stem = (names[0] ?? '').replaceAll(/[^A-Za-z0-9.-]/g, '_')
      const files = { cert: join(options.out, `${stem}.crt`), key: join(options.out, `${stem}.key`) }
      const taken = Object.values(files).find((file) => existsSync(file))
      if (taken !== undefined && !options.force)
        throw new AuthorityError(
          'not_permitted',
          `${taken} exists.`,
          'Add --force to replace it, or --out DIR.',
        )
      const leaf = await issueLeaf(await loadAuthority(directory(options)), { names })
      await writePrivate(files.key, leaf.key)
      await writePrivate(files.cert, leaf.cert)
      output.result(
        { ...files, names, notAfter: leaf.notAfter.toISOString() },
        `Issued for ${names.join(', ')} until ${leaf.notAfter.toISOString()}:\n${files.cert}\n${files.key}`,
      )
    })
}

function caroot({ output, directory }: CertDeps): Command {
  return common(new Command('caroot'))
    .description("print the CA's directory")
    .action((options: Options) => output.result({ directory: directory(options) }, directory(options)))
}

function common(command: Command): Command {
  return command.option('--state <dir>', 'state directory').option('--json', 'print the result as JSON')
}
