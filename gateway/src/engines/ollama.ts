/** Ollama as an engine: answers for the voice turn, and its own bytes for `/api/*` and `/v1/*`. */
import { Pool } from 'undici'
import { z } from 'zod'
import { Failure, type FailureCode } from '../failure.ts'
import type { ChatEngine, ChatWish, Upstream } from './engine.ts'
import { forwarder } from './forward.ts'
import { lines } from './lines.ts'

export interface Ollama extends ChatEngine, Upstream {
  readonly kind: 'ollama'
  /** Names of the local models; throws a `Failure` where nothing, or something else, answers. */
  probe(signal: AbortSignal): Promise<string[]>
  close(): Promise<void>
}

/** A cold model of 70 GB takes minutes from a slow disk before its first byte. */
const firstByteMs = 15 * 60_000
/** Between two tokens, on a machine that swaps. */
const silenceMs = 5 * 60_000
/** More at once than any one machine answers; the rest wait in Ollama's own queue. */
const connections = 256

const version = z.object({ version: z.string() })
const tags = z.object({
  // A list that was never made is null in Go's JSON.
  models: z.array(z.looseObject({ name: z.string(), remote_host: z.string().optional() })).nullable(),
})
const piece = z.object({
  error: z.string().optional(),
  message: z.object({ content: z.string().optional() }).optional(),
  done: z.boolean().optional(),
})

/** @param url origin, with or without a path before `/api` */
export function createOllama(url: string): Ollama {
  const { origin, pathname } = new URL(url)
  const base = pathname.replace(/\/$/, '')
  const pool = new Pool(origin, {
    connections,
    headersTimeout: firstByteMs,
    bodyTimeout: silenceMs,
    pipelining: 1,
  })

  const get = async (path: string, signal: AbortSignal): Promise<unknown> => {
    const { statusCode, body } = await pool.request({ method: 'GET', path: base + path, signal })
    const text = await body.text()
    if (statusCode === 503) throw new Failure('unavailable', 'Ollama is busy.')
    if (statusCode !== 200) throw notOllama()
    return parseJson(text)
  }

  const load = async (model: string): Promise<void> => {
    const body = JSON.stringify({ model })
    await pool
      .request({ method: 'POST', path: `${base}/api/generate`, headers: json, body })
      .then((answer) => answer.body.dump())
      // The first answer then waits for the model: slower, not wrong.
      .catch(() => {})
    loading.delete(model)
  }

  let known: Pick<Upstream, 'version' | 'models'> = { version: '', models: [] }
  /** A load takes minutes: sessions that open meanwhile share it, and not one connection each. */
  const loading = new Map<string, Promise<void>>()

  return {
    kind: 'ollama',
    get version() {
      return known.version
    },
    get models() {
      return known.models
    },
    forward: forwarder(pool, base),
    chat: (wish, signal) => chat(pool, base, wish, signal),
    async probe(signal) {
      const found = version.safeParse(await get('/api/version', signal))
      const listed = tags.safeParse(await get('/api/tags', signal))
      if (!found.success || !listed.success) throw notOllama()
      const models = (listed.data.models ?? []).filter(isLocal)
      known = { version: found.data.version, models }
      return models.map(({ name }) => name)
    },
    async warm(model) {
      if (model === null) return
      const begun = loading.get(model) ?? load(model)
      loading.set(model, begun)
      await begun
    },
    close: () => pool.destroy(),
  }
}

/**
 * Whether a model runs on this machine. A name with the suffix `cloud`, or an entry with a remote host, sends
 * its prompt to another's computer. Source: `internal/modelref` in ollama/ollama.
 */
export function isLocal({
  name,
  remote_host,
}: {
  readonly name: string
  readonly remote_host?: string | undefined
}): boolean {
  return !remote_host && !/[:-]cloud$/i.test(name.replaceAll(goSpace, ''))
}

/** What Go trims around a tag: JavaScript's `trim` knows neither U+0085 nor the space after the colon. */
const goSpace = /[\s\u0085]/g

function notOllama(): Failure {
  return new Failure('bad_upstream', 'What answers where Ollama should be is not Ollama.')
}

const json = { 'content-type': 'application/json' }

async function* chat(pool: Pool, base: string, wish: ChatWish, signal: AbortSignal): AsyncGenerator<string> {
  const body = JSON.stringify({ model: wish.model, messages: wish.messages, stream: true })
  const answer = await pool
    .request({ method: 'POST', path: `${base}/api/chat`, headers: json, body, signal })
    .catch((error: unknown) => {
      throw signal.aborted ? error : new Failure('unavailable', 'Ollama does not answer.', error)
    })
  try {
    if (answer.statusCode !== 200) throw refusal(answer.statusCode, await answer.body.text())
    yield* contents(answer.body)
  } catch (error) {
    if (error instanceof Failure || signal.aborted) throw error
    throw brokenOff(error)
  }
}

async function* contents(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  for await (const line of lines(body)) {
    const read = piece.safeParse(parseJson(line))
    if (!read.success) throw new Failure('bad_upstream', 'Ollama sent something that is not its protocol.')
    if (read.data.error !== undefined) throw new Failure('bad_upstream', `Ollama: ${read.data.error}`)
    if (read.data.message?.content) yield read.data.message.content
    if (read.data.done) return
  }
  throw brokenOff()
}

function brokenOff(cause?: unknown): Failure {
  return new Failure('bad_upstream', 'Ollama broke off before its answer was whole.', cause)
}

const refusals: Record<number, FailureCode> = { 400: 'invalid', 404: 'not_found', 503: 'unavailable' }

function refusal(status: number, text: string): Failure {
  const said = z.object({ error: z.string() }).safeParse(parseJson(text))
  const message = said.success ? `Ollama: ${said.data.error}` : `Ollama refused with status ${status}.`
  return new Failure(refusals[status] ?? 'bad_upstream', message)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
