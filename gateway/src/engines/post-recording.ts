/** A recording to a speech-to-text server over HTTP: its refusals and its silence as a `Failure`. */
import { randomUUID } from 'node:crypto'
import { FormData, Pool, type Dispatcher } from 'undici'
import { inputSampleRate } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import { bytesOf } from './pcm.ts'
import { wavHeader } from './wav.ts'
import { textOf } from './text-of.ts'

/** A minute of speech on a slow CPU; one request runs after another there. */
const answerMs = 5 * 60_000

export function openPool(origin: string): Pool {
  return new Pool(origin, { connections: 8, headersTimeout: answerMs, bodyTimeout: answerMs })
}

/** The file and the fields of multipart/form-data; samples are of 16 kHz, and are sent as WAV. */
type Form = Readonly<Record<string, string | Blob | Int16Array>>

export async function postRecording(
  pool: Dispatcher,
  path: string,
  form: Form,
  signal: AbortSignal,
): Promise<{ readonly contentType: string; readonly text: string }> {
  // Closing the connection is how whisper.cpp is told to stop.
  const answer = await pool
    .request({ method: 'POST', path, ...encoded(form), signal })
    .catch((error: unknown) => {
      throw signal.aborted ? error : new Failure('unavailable', 'Whisper does not answer.', error)
    })
  const text = await textOf(answer.body).catch((error: unknown) => {
    throw signal.aborted ? error : new Failure('bad_upstream', 'Whisper broke off its transcript.', error)
  })
  if (answer.statusCode === 503) throw new Failure('unavailable', 'Whisper is loading its model.')
  if (answer.statusCode === 400)
    throw new Failure('invalid', 'file: Whisper could not read the recording. Send it as WAV, 16 kHz.', text)
  if (answer.statusCode !== 200)
    throw new Failure('bad_upstream', `Whisper refused the recording with status ${answer.statusCode}.`, text)
  const type = answer.headers['content-type']
  return { contentType: typeof type === 'string' ? type : 'application/json', text }
}

/**
 * A recording that is at hand goes out in one piece: as a `Blob` it is read in many, and begins later. It is copied
 * once: of many who talk there are megabytes a second, and what frees them holds up everybody.
 */
function encoded(form: Form) {
  const boundary = `recording-${randomUUID()}`
  const parts: Buffer[] = []
  for (const [name, value] of Object.entries(form)) {
    if (value instanceof Blob) return { body: withFile(form) }
    const text = typeof value === 'string'
    const own = text ? '' : '; filename="recording.wav"\r\ncontent-type: audio/wav'
    parts.push(
      Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="${name}"${own}\r\n\r\n`),
      ...(text ? [Buffer.from(value)] : [wavHeader(inputSampleRate, value.byteLength), bytesOf(value)]),
      Buffer.from('\r\n'),
    )
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`))
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
  return { headers, body: Buffer.concat(parts) }
}

function withFile(form: Form): FormData {
  const body = new FormData()
  for (const [name, value] of Object.entries(form))
    if (typeof value === 'string') body.set(name, value)
    else if (value instanceof Blob) body.set(name, value, 'recording.wav')
  return body
}

/** The same for a recording of our own, which is sound: who refuses it is at fault. */
export async function postOwn(...given: Parameters<typeof postRecording>): Promise<string> {
  const { text } = await postRecording(...given).catch((error: unknown) => {
    throw error instanceof Failure && error.code === 'invalid'
      ? new Failure('bad_upstream', 'Whisper refused the recording.', error)
      : error
  })
  return text
}

/** A request without a recording, by which servers are told apart. */
export async function ask(
  pool: Dispatcher,
  method: 'GET' | 'POST',
  path: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const { statusCode, body } = await pool.request({ method, path, signal })
  return { status: statusCode, text: await textOf(body) }
}
