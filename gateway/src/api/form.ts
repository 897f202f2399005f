/**
 * The form of an upload, read as it comes and within limits: forms that `Response.formData` reads whole hold up
 * everybody for seconds when they are of half a million parts.
 */
import type { IncomingMessage } from 'node:http'
import { Busboy, type BusboyInstance } from '@fastify/busboy'
import { Failure } from '../failure.ts'

/** As OpenAI has it: an hour of speech, compressed. */
const maxBytes = 25 * 1024 * 1024
const limits = { parts: 64, headerPairs: 32, headerSize: 8 * 1024, fieldNameSize: 256, fieldSize: 64 * 1024 }

/** What is left of the request is its caller's to read. Throws a `Failure`. */
export async function readForm(request: IncomingMessage): Promise<FormData> {
  const parser = openParser(request)
  const form = new FormData()
  let bytes = 0
  await new Promise<void>((settle, fail) => {
    const refuse = (failure: Failure): void => {
      // At once: what is at hand already is not looked through either.
      request.unpipe(parser)
      fail(failure)
    }
    const broken = (error?: unknown): void => refuse(noForm(error))
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxBytes) refuse(new Failure('too_large', 'file: at most 25 MiB.'))
    })
    request.on('error', broken)
    request.once('close', () => request.complete || broken())
    parser.on('field', (name, value) => form.append(name, value))
    parser.on('file', (name, stream, filename, _encoding, type) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('error', broken)
      stream.once('end', () => form.append(name, new File([Buffer.concat(chunks)], filename, { type })))
    })
    parser.once('partsLimit', () =>
      refuse(new Failure('invalid', `The form has more than ${limits.parts} parts.`)),
    )
    parser.on('error', broken)
    parser.once('finish', settle)
    request.pipe(parser)
  })
  return form
}

function openParser({ headers }: IncomingMessage): BusboyInstance {
  const { 'content-type': type = '' } = headers
  if (!/^multipart\/form-data;/i.test(type))
    throw new Failure('invalid', 'file: send the recording as multipart/form-data.')
  try {
    return new Busboy({ headers: { ...headers, 'content-type': type }, limits })
  } catch (error) {
    throw noForm(error)
  }
}

function noForm(error: unknown): Failure {
  return new Failure('invalid', 'The body is no multipart/form-data.', error)
}
