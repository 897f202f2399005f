/** The JSON body of a request: read within a limit, checked, and written anew so that nothing rides along. */
import type { IncomingMessage } from 'node:http'
import type { Upstream } from '#engines/engine.ts'
import { isLocal } from '#engines/ollama.ts'
import { Failure } from '../failure.ts'

/** A conversation with a few pictures; Ollama itself stops at 20 MiB of encoded body. */
const maxBytes = 32 * 1024 * 1024

export interface ModelRequest {
  readonly model: string
  readonly [field: string]: unknown
}

/** Throws a `Failure` that names what is wrong. */
export async function readModelRequest(request: IncomingMessage): Promise<ModelRequest> {
  if (request.headers['content-encoding'] !== undefined)
    throw new Failure('invalid', 'Send the body without Content-Encoding.')
  const read = parse(await readAll(request))
  if (typeof read !== 'object' || read === null || Array.isArray(read))
    throw new Failure('invalid', 'The body must be a JSON object.')
  const fields: Record<string, unknown> = { ...read }
  const { model } = fields
  if (typeof model !== 'string' || model === '')
    throw new Failure('invalid', 'model: name a model, for example "llama3.2".')
  // Go matches keys whatever their case, so a second `Model` could override the one that was checked.
  const twin = Object.keys(fields).find((key, at, keys) =>
    keys.some((other, before) => before < at && same(key, other)),
  )
  if (twin !== undefined) throw new Failure('invalid', `${twin}: the same field stands twice.`)
  const disguised = Object.keys(fields).find((key) => known.some((one) => one !== key && same(one, key)))
  if (disguised !== undefined) throw new Failure('invalid', `${fold(disguised)}: write it in lower case.`)
  if (!isLocal({ name: model }))
    throw new Failure('forbidden', 'Cloud models are refused: prompts stay on this network.')
  return { ...fields, model }
}

/** What goes upstream: our own writing of what was checked. */
export function writeBody(fields: ModelRequest): Buffer {
  return Buffer.from(JSON.stringify(fields))
}

/**
 * Throws where the model is none of the upstream's local ones. The suffix does not show every model that runs
 * elsewhere: an alias may have a remote host behind any name, and only the list tells.
 */
export function mustBeLocal({ models }: Upstream, { model }: ModelRequest): void {
  if (models.some(({ name }) => name === model || name === `${model}:latest`)) return
  throw new Failure(
    'not_found',
    `model: '${model.slice(0, 256)}' not found among the models of this gateway.`,
  )
}

/** The fields that we read, or mean to limit. */
const known = [
  'model',
  'messages',
  'prompt',
  'stream',
  'options',
  'keep_alive',
  'max_tokens',
  'max_completion_tokens',
]

function same(one: string, other: string): boolean {
  return fold(one) === fold(other)
}

/** As Go's encoding/json compares keys: to it `ſ` is an s, too, and the Kelvin sign a k. */
function fold(key: string): string {
  return key.toUpperCase().toLowerCase()
}

async function readAll(request: IncomingMessage): Promise<string> {
  const announced = Number(request.headers['content-length'] ?? 0)
  const chunks: Buffer[] = []
  let bytes = 0
  if (announced <= maxBytes)
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > maxBytes) break
      chunks.push(chunk)
    }
  if (announced > maxBytes || bytes > maxBytes)
    throw new Failure('too_large', `The body is larger than ${maxBytes / 1024 / 1024} MiB.`)
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): unknown {
  if (text === '') throw new Failure('invalid', 'The body is missing.')
  try {
    return JSON.parse(text)
  } catch {
    throw new Failure('invalid', 'The body is not JSON.')
  }
}
