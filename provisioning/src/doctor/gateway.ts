import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { trustedRoots } from '@sotto/certs/rollover.ts'
import { Agent, request } from 'undici'
import { z } from 'zod'
import { isServed, type State } from '../state.ts'
import { errorText, failed, ok, skipped, warning, type Check } from './check.ts'

const answerTimeoutMs = 3_000

export const gateway: Check = {
  code: 'gateway',
  name: 'Gateway',
  async run({ state }) {
    if (!isServed(state)) return warning('It does not run', 'sudo npm start')
    const origins = await runningOrigins(state)
    if (origins.length === 0) return warning('It is starting', 'Try again in a moment')
    const dispatcher = await trusting(state)
    try {
      for (const origin of origins)
        await request(`${origin}/healthz`, { dispatcher, headersTimeout: answerTimeoutMs }).then(({ body }) =>
          body.dump(),
        )
      return ok(`answers at ${origins.join(' and ')}, trusted by its own CA`)
    } catch (error) {
      return failed(`It runs and does not answer: ${errorText(error)}`, `See its log: ${state.log}`)
    } finally {
      await dispatcher.close()
    }
  },
}

/** What its own checks can't see: what was, and what the running gateway alone meets. */
export const troubles: Check = {
  code: 'troubles',
  name: 'Troubles',
  async run({ state }) {
    const [origin] = await runningOrigins(state)
    if (origin === undefined) return skipped('the gateway does not run')
    const dispatcher = await trusting(state)
    try {
      const { body } = await request(`${origin}/health`, { dispatcher, headersTimeout: answerTimeoutMs })
      const read = told.safeParse(await body.json())
      const found = read.success ? read.data.troubles.toSorted((one, other) => +one.over - +other.over) : []
      const [worst] = found
      if (worst === undefined) return ok('the gateway met none within the last hour')
      const message = found.map((one) => one.message).join(' ')
      return (worst.over ? warning : failed)(message, worst.remedy)
    } catch {
      return skipped('the gateway does not answer')
    } finally {
      await dispatcher.close()
    }
  },
}

/** Of the answer of `GET /health`. */
const told = z.object({
  troubles: z.array(z.object({ over: z.boolean(), message: z.string(), remedy: z.string() })),
})

export const microphone: Check = {
  code: 'microphone',
  name: 'Microphone',
  async run({ state }) {
    const [origin] = await runningOrigins(state)
    if (origin === undefined) return skipped('the gateway does not run')
    // W3C, Secure Contexts: no browser gives a page of plain http the microphone.
    return ok(
      `a browser gives it to ${origin} once the device trusts the CA: http${origin.slice(5)}/enrol shows how`,
    )
  },
}

async function trusting(state: State): Promise<Agent> {
  return new Agent({ connect: { ca: await trustedRoots(state.certs), timeout: answerTimeoutMs } })
}

async function runningOrigins(state: State): Promise<readonly string[]> {
  if (!isServed(state)) return []
  const text = await readFile(join(state.directory, 'running.json'), 'utf8').catch(() => '{}')
  const read = z.object({ origins: z.array(z.string()) }).safeParse(JSON.parse(text))
  return read.success ? read.data.origins : []
}
