/** A joined device's calls to its gateway, over the overlay and trusting its CA alone. */
import { Agent, request, type Dispatcher } from 'undici'
import { z } from 'zod'
import { networkView, type NetworkView } from '#enrolment/exchange.ts'
import type { Path } from '#registry/path.ts'
import { Problem } from '../problem.ts'

export interface GatewayClient {
  /** Trades a link for a place in the network. Throws the gateway's own `Problem`. */
  enrol(token: string, keys: { readonly publicKey: string; readonly directKey: string }): Promise<NetworkView>
  /** Resolves when this device's part is not `version` any more, or after some 25 s. */
  network(version: string, signal: AbortSignal): Promise<NetworkView>
  report(candidates: readonly string[], paths: readonly Omit<Path, 'since'>[]): Promise<void>
  close(): Promise<void>
}

const refusal = z.object({
  error: z.object({ code: z.string(), message: z.string(), remedy: z.string().default('') }),
})

/** Longer than the gateway lets a call wait. */
const answerTimeoutMs = 40_000
const connectTimeoutMs = 5_000

/** @param rootCertificate PEM */
export function createGatewayClient(origin: string, rootCertificate: string): GatewayClient {
  const dispatcher = new Agent({
    connect: { ca: rootCertificate, timeout: connectTimeoutMs },
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
  })
  const call = async (
    method: Dispatcher.HttpMethod,
    path: string,
    { body, signal }: { readonly body?: unknown; readonly signal?: AbortSignal } = {},
  ): Promise<unknown> => {
    const answer = await request(origin + path, {
      dispatcher,
      method,
      ...(signal && { signal }),
      ...(body !== undefined && {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      }),
    })
    const text = await answer.body.text()
    if (answer.statusCode < 300) return text === '' ? undefined : JSON.parse(text)
    const said = refusal.safeParse(parse(text))
    if (said.success) throw new Problem(said.data.error.code, said.data.error.message, said.data.error.remedy)
    throw new Problem('gateway', `The gateway answered ${answer.statusCode}.`, 'See its log.')
  }
  return {
    async enrol(token, keys) {
      const answer = await call('POST', '/sotto/enrolment', { body: { token, ...keys } })
      return z.object({ network: networkView }).parse(answer).network
    },
    network: async (version, signal) =>
      networkView.parse(await call('GET', `/sotto/network?after=${version}`, { signal })),
    async report(candidates, paths) {
      await call('POST', '/sotto/paths', { body: { candidates, paths } })
    },
    close: () => dispatcher.close(),
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
