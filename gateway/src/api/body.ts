/** The JSON body of a request: read within a limit, checked, and written anew so that nothing rides along. */
import type { IncomingMessage } from 'node:http'
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
  if (Object.keys(fields).some((key) => key !== 'model' && same(key, 'model')))
    throw new Failure('invalid', 'model: write it in lower case.')
  if (!isLocal({ name: model }))
    throw new Failure('forbidden', 'Cloud models are refused: prompts stay on this network.')
  return { ...fields, model }
}

/** What goes upstream: our own writing of what was checked. */
export function writeBody(fields: ModelRequest): Buffer {
  return Buffer.from(JSON.stringify(fields))
}

function same(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
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
