import { execa } from 'execa'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createTerminal } from './terminal.ts'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  process.exitCode = undefined
})

/** What is written to a stream, instead of writing it. */
function capture(stream: NodeJS.WriteStream): () => string {
  const write = vi.spyOn(stream, 'write').mockReturnValue(true)
  return () => write.mock.calls.map(([text]) => String(text)).join('')
}

describe('the terminal', () => {
  it('goes on where it has no width, as in some containers, and there draws no spinner', async () => {
    const nothing = { value: () => true }
    const tty = {
      isTTY: { value: true },
      columns: { value: 0 },
      cursorTo: nothing,
      clearLine: nothing,
      moveCursor: nothing,
    }
    vi.stubGlobal(
      'process',
      Object.create(process, { stderr: { value: Object.create(process.stderr, tty) } }),
    )
    vi.stubEnv('CI', undefined)
    vi.stubEnv('TERM', 'xterm')
    const said = capture(process.stderr)
    expect(await createTerminal(false).progress.step('Work', async () => 7, String)).toBe(7)
    expect(said()).toMatch(/Work\s+7/)
  })

  it('prints a result for people, or as JSON, on stdout alone', () => {
    const said = capture(process.stdout)
    createTerminal(false).output.result({ a: 1 }, 'one')
    createTerminal(true).output.result({ a: 1 }, 'one')
    expect(said()).toBe('one\n{"a":1}\n')
  })

  it('is asked to stop once, also while another program runs, and the second time ends at once', async () => {
    const source = (closing: string) => `
      import { execa } from ${JSON.stringify(import.meta.resolve('execa'))}
      import { createTerminal } from ${JSON.stringify(import.meta.resolve('./terminal.ts'))}
      const { asked } = createTerminal(false)
      const stopping = asked()
      const running = execa('sleep', ['60'], { reject: false })
      console.log('ready')
      await stopping
      running.kill()
      ${closing}
      console.log('closed')`
    const run = async (closing: string, signals: number) => {
      const child = execa(process.execPath, ['--input-type=module', '-e', source(closing)], { reject: false })
      child.stdout.once('data', () => child.kill('SIGTERM'))
      if (signals > 1) child.stderr.once('data', () => child.kill('SIGTERM'))
      const { exitCode, signal, stdout } = await child
      return { exitCode, signal, stdout }
    }
    expect(await run('', 1)).toEqual({ exitCode: 0, signal: undefined, stdout: 'ready\nclosed' })
    const stuck = await run('await new Promise((settle) => setTimeout(settle, 60_000))', 2)
    expect(stuck).toEqual({ exitCode: 143, signal: undefined, stdout: 'ready' })
  })

  it('says what is wrong and what helps, without a stack, and fails', () => {
    const said = capture(process.stderr)
    createTerminal(false).fail(Object.assign(new Error('The port is taken.'), { remedy: 'Use --port N.' }))
    expect(said()).toBe('\n✘ The port is taken.\n  → Use --port N.\n')
    expect(process.exitCode).toBe(1)
  })
})
