/** The JSON body of a request: read within a limit, checked, and written anew so that nothing rides along. */
import type { IncomingMessage } from 'node:http'
import { isLocal } from '#engines/backend.ts'
import { isRecord, parseJson } from '#engines/json.ts'
import { Failure } from '../failure.ts'

/** A conversation with a few pictures; Ollama itself stops at 20 MiB of encoded body. */
const maxBytes = 32 * 1024 * 1024

export interface ModelRequest {
  readonly model: string
  readonly [field: string]: unknown
}

/** Throws a `Failure` that names what is wrong. */
export async function readModelRequest(request: IncomingMessage): Promise<ModelRequest> {
  const fields = await readJson(request)
  // Ollama's older name for it.
  const model = fields.model ?? fields.name
  if (typeof model !== 'string' || model === '')
    throw new Failure('invalid', 'model: name a model, for example "llama3.2".')
  // Go matches keys whatever their case, so a second `Model` could override the one that was checked.
  const seen = new Set<string>()
  for (const key of Object.keys(fields)) {
    const folded = fold(key)
    if (seen.has(folded)) throw new Failure('invalid', `${key}: the same field stands twice.`)
    if (folded !== key && known.has(folded))
      throw new Failure('invalid', `${folded}: write it in lower case.`)
    seen.add(folded)
  }
  if (!isLocal({ name: model }))
    throw new Failure('forbidden', 'Cloud models are refused: prompts stay on this network.')
  const { name: _, ...rest } = fields
  return { ...rest, model }
}

/** A body that is one JSON object. Throws a `Failure`. */
export async function readJson(
  request: IncomingMessage,
  atMost = maxBytes,
): Promise<Readonly<Record<string, unknown>>> {
  if (request.headers['content-encoding'] !== undefined)
    throw new Failure('invalid', 'Send the body without Content-Encoding.')
  const read = parse(await readText(request, atMost))
  if (!isRecord(read)) throw new Failure('invalid', 'The body must be a JSON object.')
  return read
}

/** What goes upstream: our own writing of what was checked. */
export function writeBody(fields: ModelRequest): Buffer {
  return Buffer.from(JSON.stringify(fields))
}

/** What the admin holds the engines' own settings to. */
export interface EngineLimits {
  /** The longest that a model may be kept in memory after a request, in milliseconds. */
  readonly keepAliveMs: number
  /** The largest context that a request may ask for, in tokens: another size loads the model anew. */
  readonly contextTokens: number
}

/**
 * A native request within the limits. `keep_alive` is held down to its limit; unloading a model that others use
 * is refused, and so is a context that is too large, since a smaller one would cut the prompt in silence.
 */
export function withinLimits(
  request: ModelRequest,
  limits: EngineLimits,
  asksNothing: boolean,
): ModelRequest {
  const { keep_alive: keepAlive, options } = request
  const context: unknown = isRecord(options) ? options.num_ctx : undefined
  if (typeof context === 'number' && context > limits.contextTokens)
    throw new Failure('invalid', `options.num_ctx: at most ${limits.contextTokens} here.`)
  if (keepAlive === undefined || keepAlive === null) return request
  const asked = durationMs(keepAlive)
  if (asked === undefined)
    throw new Failure('invalid', 'keep_alive: give seconds, or a duration such as "5m".')
  if (asked === 0 && asksNothing)
    throw new Failure(
      'forbidden',
      'Models are unloaded on the gateway’s own machine, since others use them too.',
    )
  const { keep_alive: _, ...rest } = request
  // Unloading after an answer would take the model from the next one: the engine's own default stands.
  if (asked === 0) return rest
  return { ...rest, keep_alive: `${Math.min(asked < 0 ? Infinity : asked, limits.keepAliveMs) / 1000}s` }
}

/** What a request may hold that would take a prompt out of the house, wherever it stands. Throws a `Failure`. */
export function staysHere({ tools, messages, input }: ModelRequest): void {
  if (Array.isArray(tools))
    for (const tool of tools)
      if (isRecord(tool) && typeof tool.type === 'string' && /^web_(?:search|fetch)/.test(tool.type))
        throw new Failure(
          'forbidden',
          'tools: searching the web from the gateway is refused: prompts stay on this network.',
        )
  for (const content of [messages, input]) if (Array.isArray(content)) content.forEach(holdsItsFiles)
}

/** A picture by its address would be fetched by the engine, from wherever the address points. */
function holdsItsFiles(value: unknown): void {
  if (Array.isArray(value)) return value.forEach(holdsItsFiles)
  if (!isRecord(value)) return
  if (value.type === 'url' && typeof value.url === 'string') throw remoteFile()
  for (const [key, inner] of Object.entries(value)) {
    // What a tool is called with is the model's and the client's own affair.
    if (key === 'input' || key === 'arguments') continue
    const url: unknown = key.endsWith('_url') ? (isRecord(inner) ? inner.url : inner) : undefined
    if (typeof url === 'string' && !url.startsWith('data:')) throw remoteFile()
    if (typeof inner === 'object') holdsItsFiles(inner)
  }
}

function remoteFile(): Failure {
  return new Failure(
    'invalid',
    'Send files and pictures within the request (data:… or base64), not as an address.',
  )
}

/** More tokens than any model makes of a picture. */
const pictureTokens = 16_384

/**
 * Above what the input can come to, in tokens: none is shorter than a byte, and what a template adds to each
 * message is less than what JSON does.
 */
export function inputBound(request: ModelRequest, bytes: number): number {
  if (bytes <= pictureTokens) return bytes
  let bound = bytes
  const walk = (value: unknown): void => {
    if (typeof value === 'string') {
      if (value.length > pictureTokens && /^(?:data:|[\w+/]{64})/.test(value))
        bound -= value.length - pictureTokens
    } else if (typeof value === 'object' && value !== null) Object.values(value).forEach(walk)
  }
  for (const part of [request.messages, request.input, request.images]) walk(part)
  return bound
}

const maxDurationCharacters = 64

/** Seconds, or a duration as Go writes it: `1h30m`, `-1s`; undefined for neither. */
function durationMs(value: unknown): number | undefined {
  if (typeof value === 'number') return value * 1000
  // Longer than any duration, and long enough to keep the search below busy for hours.
  if (typeof value !== 'string' || value.length > maxDurationCharacters) return undefined
  if (/^-?\d+$/.test(value)) return Number(value) * 1000
  const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)]
  if (parts.length === 0 || value.replace(/^-/, '') !== parts.map(([part]) => part).join('')) return undefined
  const unit: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 }
  const sum = parts.reduce((total, [, count, name = '']) => total + Number(count) * (unit[name] ?? 0), 0)
  return value.startsWith('-') ? -sum : sum
}

/** The fields that we read, or mean to limit. */
const known = new Set([
  'model',
  'name',
  'messages',
  'prompt',
  'stream',
  'options',
  'keep_alive',
  'max_tokens',
  'max_completion_tokens',
  'max_output_tokens',
  'stream_options',
  'tools',
  'input',
  'images',
])

/** As Go's encoding/json compares keys: to it `ſ` is an s, too, and the Kelvin sign a k. */
function fold(key: string): string {
  return key.toUpperCase().toLowerCase()
}

/**
 * A body, whole. By events: an iterator over a request costs some ten times as much, and one that is left ends the
 * connection before the answer is there. Throws a `Failure`.
 */
export function readText(request: IncomingMessage, atMost: number): Promise<string> {
  return new Promise((settle, fail) => {
    const chunks: Buffer[] = []
    let bytes = Number(request.headers['content-length'] ?? 0) > atMost ? Infinity : 0
    const tooLarge = () => fail(new Failure('too_large', `The body is larger than ${sizeOf(atMost)}.`))
    if (bytes > atMost) return tooLarge()
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      // What comes still is read and dropped, so that the answer gets through.
      if (bytes <= atMost) chunks.push(chunk)
      else tooLarge()
    })
    request.once('end', () => settle(Buffer.concat(chunks).toString('utf8')))
    request.once('error', (error) => fail(new Failure('invalid', 'The body broke off.', error)))
    request.once('close', () => {
      if (!request.complete) fail(new Failure('invalid', 'The body broke off.'))
    })
  })
}

function sizeOf(bytes: number): string {
  return bytes < 1024 * 1024 ? `${bytes / 1024} KiB` : `${bytes / 1024 / 1024} MiB`
}

function parse(text: string): unknown {
  if (text === '') throw new Failure('invalid', 'The body is missing.')
  const read = parseJson(text)
  if (read === undefined) throw new Failure('invalid', 'The body is not JSON, or nested too deep.')
  return read
}
