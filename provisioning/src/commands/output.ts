/** What a command says. One implementation prints: the root's `terminal.ts`. */
export interface Output {
  /** The command's result: `text` for people on stdout, or `data` as JSON where `--json` was given. */
  result(data: unknown, text: string): void
}
