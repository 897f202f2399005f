/**
 * The one file that prints and ends the process. Results go to stdout; progress, notices and errors to
 * stderr, so that `--json` can be piped. An error is what is wrong, then what helps; no stack.
 */
import type { Progress } from '@sotto/gateway/main.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'

export interface Terminal {
  readonly output: Output
  readonly progress: Progress
  /** Shows a line that the next one takes the place of; false where there is no terminal. */
  live(text: string): boolean
  /** Prints an error and sets the exit code. */
  fail(error: unknown): void
  /** Resolves at the first Ctrl-C or `kill`; the second ends the process at once. */
  asked(): Promise<void>
}

/** @param json whether `--json` was given */
export function createTerminal(json: boolean): Terminal {
  return {
    output: {
      result: (data, text) => {
        process.stdout.write(json ? `${JSON.stringify(data)}\n` : `${text}\n`)
      },
    },
    progress: {
      async step(title, task, done) {
        // Commands that show no progress start sooner without it.
        const { default: ora } = await import('ora')
        const spinner = ora({ text: title.padEnd(12), stream: process.stderr, discardStdin: false })
        // A terminal of no width, as some containers have, would be redrawn for ever.
        if (process.stderr.isTTY && process.stderr.columns > 0) spinner.start()
        try {
          const result = await task()
          spinner.stopAndPersist({ symbol: '·', text: `${title.padEnd(12)} ${done(result)}` })
          return result
        } catch (error) {
          spinner.fail()
          throw error
        }
      },
      notice: (text) => {
        process.stderr.write(`· ${text}\n`)
      },
    },
    live(text) {
      if (!process.stderr.isTTY) return false
      const width = process.stderr.columns || 80
      process.stderr.write(`\r\u001B[K${text.slice(0, width - 1)}`)
      return true
    },
    fail(error) {
      const { message, remedy } = describe(error)
      process.stderr.write(`\n✘ ${message}\n${remedy ? `  → ${remedy}\n` : ''}`)
      process.exitCode = 1
    },
    asked: () =>
      new Promise((settle) => {
        let asked = false
        const ask = (_signal: NodeJS.Signals, number: number) => {
          if (asked) process.exit(128 + number)
          asked = true
          process.stderr.write('\nStopping…\n')
          settle()
        }
        // They stay: where execa's listener, there while a command runs, finds no other, it ends the process.
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, ask)
      }),
  }
}

function describe(error: unknown): { message: string; remedy?: string } {
  if (!(error instanceof Error)) return { message: String(error) }
  if (process.env.SOTTO_DEBUG) return { message: error.stack ?? error.message }
  const remedy = 'remedy' in error && typeof error.remedy === 'string' ? error.remedy : undefined
  return { message: error.message, ...(remedy !== undefined && { remedy }) }
}
