/**
 * What is read of an answer as it passes: whether it came to its proper end, how many tokens it says it took,
 * and how many pieces went by. Of a stream only whole events are let through, so that one that breaks off can
 * be told so in words; of the pieces none is parsed but the last and those that bear the usage.
 */
import type { Usage } from '#admission/admission.ts'
import { hold, type Held } from './held.ts'
import { isRecord, parseJson } from './json.ts'

export interface Tap {
  /** What may go on to the client now; undefined while an event is not whole. */
  pass(chunk: Buffer): Buffer | undefined
  /** Whether what was seen is all that there should be. */
  whole(): boolean
  /** As the upstream said it. */
  usage(): Usage | undefined
  /** Events of a stream that had a piece of the answer in them, as far as they can be told. */
  readonly pieces: number
  /** Tells the client that the answer is not whole, in the stream's own form; empty where it has none. */
  broken(message: string): string
}

/** How a dialect says these things. */
export interface Grammar {
  /** Found in the bytes of each event that has to be read, and in as few others as may be. */
  readonly marks: readonly string[]
  /** What an event, or an answer in one piece, says of its tokens. */
  usage(body: Readonly<Record<string, unknown>>, whole: boolean): Usage | undefined
  /** Whether an event is the last one of an answer; given its text where that is no JSON. */
  ends(event: Readonly<Record<string, unknown>> | string): boolean
  /** Whether an event is kept from the client. */
  hides?(event: Readonly<Record<string, unknown>>): boolean
  /** The stream's own form of an error. */
  error(message: string): string
}

/** Above the longest event there is, a line of `/api/generate` with its `context` of some 100,000 numbers. */
const maxEventBytes = 16 * 1024 * 1024
/** Of an answer in one piece, the end is kept: what it says of its tokens stands there. */
const maxBodyBytes = 1024 * 1024

const newline = 10

/** @param contentType of the answer */
export function createTap(grammar: Grammar, contentType: string): Tap {
  if (contentType.startsWith('application/x-ndjson')) return new StreamTap(grammar, lines)
  if (contentType.startsWith('text/event-stream')) return new StreamTap(grammar, serverSentEvents)
  return new BodyTap(grammar)
}

/** For what is only carried: its end is the connection's. */
export function carry(): Tap {
  return { pass: (chunk) => chunk, whole: () => true, usage: () => undefined, pieces: 0, broken: () => '' }
}

/** How events stand in a stream. */
interface Framing {
  readonly border: Buffer
  read(event: string): Readonly<Record<string, unknown>> | string | undefined
}

const lines: Framing = { border: Buffer.from('\n'), read: parse }
const serverSentEvents: Framing = { border: Buffer.from('\n\n'), read: readEvent }

/** A grammar is asked for again with each answer, and some are made for one. */
const marksOf = new Map<string, readonly Buffer[]>()
function bytesOf(marks: readonly string[]): readonly Buffer[] {
  const name = marks.join('\n')
  const known = marksOf.get(name)
  if (known) return known
  const made = marks.map((mark) => Buffer.from(mark))
  marksOf.set(name, made)
  return made
}

/** There are as many at once as there are streams: a class, so that each is small. */
class StreamTap implements Tap {
  readonly #grammar: Grammar
  readonly #framing: Framing
  readonly #marks: readonly Buffer[]
  /** The beginning of an event whose end is not there yet. */
  #held: Held | undefined
  #usage: Usage | undefined
  #ended = false
  pieces = 0

  constructor(grammar: Grammar, framing: Framing) {
    this.#grammar = grammar
    this.#framing = framing
    this.#marks = bytesOf(grammar.marks)
  }

  pass(chunk: Buffer): Buffer | undefined {
    const { border } = this.#framing
    const before = this.#held?.bytes.length ?? 0
    this.#held?.add(chunk)
    const all = this.#held?.bytes ?? chunk
    // The border itself may be cut in two: then it is found when the rest is there.
    const from = Math.max(0, before - border.length + 1)
    const last = all.subarray(from).lastIndexOf(border)
    if (last === -1) {
      if (all.length > maxEventBytes) throw new Error('an event has no end')
      this.#held ??= hold(chunk)
      return undefined
    }
    const end = from + last + border.length
    const events = end === all.length ? all : all.subarray(0, end)
    this.#held = end === all.length ? undefined : hold(all.subarray(end))
    this.pieces += count(events, border.length)
    const inspected = lastEvents(events, border)
    const tail = inspected === 0 ? events : events.subarray(inspected)
    return this.#marks.some((mark) => tail.includes(mark)) ? this.#inspect(events, inspected) : events
  }

  whole(): boolean {
    // The last line may come without its newline.
    if (!this.#ended && this.#held && this.#framing.border.length === 1) this.#inspect(this.#held.bytes, 0)
    return this.#ended
  }

  usage(): Usage | undefined {
    return this.#usage
  }

  broken(message: string): string {
    return this.#grammar.error(message)
  }

  /** Reads the last events of a chunk of whole ones; gives what of it the client gets. */
  #inspect(events: Buffer, from: number): Buffer | undefined {
    const border = this.#framing.border.toString()
    const kept: string[] = []
    let hidden = false
    for (const event of events.toString('utf8', from).split(border)) {
      if (event.trim() === '') continue
      const body = this.#framing.read(event)
      if (body !== undefined) {
        this.#ended ||= this.#grammar.ends(body)
        if (typeof body === 'object') {
          this.#usage = this.#grammar.usage(body, false) ?? this.#usage
          if (this.#grammar.hides?.(body)) {
            hidden = true
            continue
          }
        }
      }
      kept.push(event + border)
    }
    if (!hidden) return events
    const rest = Buffer.concat([events.subarray(0, from), Buffer.from(kept.join(''))])
    return rest.length === 0 ? undefined : rest
  }
}

class BodyTap implements Tap {
  readonly #grammar: Grammar
  #chunks: Buffer[] = []
  #bytes = 0
  readonly pieces = 0

  constructor(grammar: Grammar) {
    this.#grammar = grammar
  }

  pass(chunk: Buffer): Buffer {
    this.#bytes += chunk.length
    this.#chunks.push(chunk)
    if (this.#bytes > 2 * maxBodyBytes) {
      this.#chunks = [Buffer.concat(this.#chunks).subarray(-maxBodyBytes)]
      this.#bytes = maxBodyBytes
    }
    return chunk
  }

  /** A body has a length, or a connection that breaks. */
  whole(): boolean {
    return true
  }

  usage(): Usage | undefined {
    const [first] = this.#chunks
    const text = (this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks))?.toString() ?? ''
    const body = parse(text)
    if (body) return this.#grammar.usage(body, true)
    // Too large to be kept whole, as embeddings are: the object at its end is.
    const tail =
      /"usage":(\{[^{}]*\})[^{}]*\}\s*$/.exec(text)?.[1] ?? /,("prompt_eval_count":\d+)\}\s*$/.exec(text)?.[1]
    const found =
      tail === undefined ? undefined : parse(tail.startsWith('{') ? `{"usage":${tail}}` : `{${tail}}`)
    return found && this.#grammar.usage(found, true)
  }

  broken(): string {
    return ''
  }
}

/** How many of the last events are looked at: what ends a stream, and what says its usage, are the last two. */
const lastOnes = 3

/** Where the last events begin. */
function lastEvents(events: Buffer, border: Buffer): number {
  let at = events.length - border.length
  for (let left = lastOnes; left > 0 && at > 0; left -= 1) {
    const before = events.lastIndexOf(border, at - 1)
    if (before === -1) return 0
    at = before
  }
  return at <= 0 ? 0 : at + border.length
}

/** Events end with as many newlines as their border has, and have none but one a line. */
function count(events: Buffer, newlines: number): number {
  let found = 0
  for (let at = events.indexOf(newline); at !== -1; at = events.indexOf(newline, at + 1)) {
    if (newlines > 1 && events[at + 1] !== newline) continue
    found += 1
    at += newlines - 1
  }
  return found
}

/** The data of a server-sent event: JSON, or the text `[DONE]`. */
function readEvent(event: string): Readonly<Record<string, unknown>> | string | undefined {
  const data = event
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice(5).trim())
    .join('\n')
  return data === '' ? undefined : (parse(data) ?? data)
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  const read = parseJson(text)
  return isRecord(read) ? read : undefined
}
