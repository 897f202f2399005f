/** What the commands of certificates are given, and what they have in common. */
import type { Command } from 'commander'

export interface CertDeps {
  readonly output: {
    /** The command's result: `text` for people, or `data` as JSON where `--json` was given. */
    result(data: unknown, text: string): void
  }
  /** Directory of the certificates for the options of a command. */
  directory(options: { readonly state?: string }): string
}

export interface CommonOptions {
  readonly state?: string
}

export function common(command: Command): Command {
  return command.option('--state <dir>', 'state directory').option('--json', 'print the result as JSON')
}
