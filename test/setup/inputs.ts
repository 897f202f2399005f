/** Says how many inputs the properties of a file tried. */
import { afterAll, expect } from 'vitest'

if (/property|bad-input/.test(expect.getState().testPath ?? '')) {
  const { configureGlobal, defaultReportMessage } = await import('fast-check')
  let tried = 0
  configureGlobal({
    reporter(details) {
      tried += details.numRuns
      if (details.failed) throw new Error(defaultReportMessage(details), { cause: details.errorInstance })
    },
  })
  afterAll(() => void process.stdout.write(`${tried} inputs tried\n`))
}
