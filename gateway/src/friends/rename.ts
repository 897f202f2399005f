/**
 * Names of models in the JSON that passes between two gateways: `tiny` there is `tiny@ada` here. Read byte by byte
 * as it comes, in lines, events or one piece, and left as it was but for these names.
 */

/** Gives a chunk on, renamed. */
export type Rename = (chunk: Buffer) => Buffer

/**
 * For answers, in whatever dialect.
 *
 * @param friend whose name follows that of each model
 * @param contentType of the answer
 */
export function renameAnswer(friend: string, contentType: string): Rename {
  if (!/json|text\/event-stream/.test(contentType)) return (chunk) => chunk
  const suffix = Buffer.from(`@${friend}`)
  const finder = new ModelFinder(/ndjson|event-stream/.test(contentType))
  return (chunk) => {
    const ends = finder.find(chunk)
    if (ends.length === 0) return chunk
    const renamed = Buffer.allocUnsafe(chunk.length + ends.length * suffix.length)
    let from = 0
    let to = 0
    for (const end of ends) {
      to += chunk.copy(renamed, to, from, end)
      to += suffix.copy(renamed, to)
      from = end
    }
    chunk.copy(renamed, to, from)
    return renamed
  }
}

/** For a request, which is there as a whole: takes the friend's name from that of its model. */
export function renameRequest(friend: string, body: Buffer): Buffer {
  const suffix = Buffer.from(`@${friend}`)
  const [end = 0] = new ModelFinder(false).find(body)
  const start = end - suffix.length
  if (start < 0 || !body.subarray(start, end).equals(suffix)) return body
  return Buffer.concat([body.subarray(0, start), body.subarray(end)])
}

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a
const comma = 0x2c
const newline = 0x0a
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d

/** Of the keys that matter here, the longest is `response`. */
const longestKey = 8
/** What holds the model where it does not stand at the top: Anthropic's `message_start`, the events of Responses. */
const holders = new Set(['message', 'response'])

/** Where the names of models end, in one JSON value after another; a string may come in many chunks. */
class ModelFinder {
  /** Whether each line has a value of its own. */
  readonly #lines: boolean
  #depth = 0
  /** Of the two outer levels, by depth: whether it is an object, and its key now. */
  readonly #isObject: boolean[] = []
  readonly #key: string[] = []
  /** What stood before: of a string, whether it is a key or a value. */
  #before: number | undefined
  #inString = false
  #escaped = false
  /** A line names one model: what follows in it is not looked at. */
  #named = false
  #role: 'key' | 'model' | 'other' = 'other'
  #read = ''
  /** What comes next is the first byte of a line. */
  #begins: boolean
  /** The last line that named a model, as far as that: most of a stream begin with the same bytes. */
  #known = Buffer.alloc(0)

  constructor(lines: boolean) {
    this.#lines = lines
    this.#begins = lines
  }

  /** Offsets of the closing quotes. */
  find(chunk: Buffer): number[] {
    const ends: number[] = []
    let line: number | undefined
    for (let at = 0; at < chunk.length; at += 1) {
      if (this.#named) {
        at = chunk.indexOf(newline, at)
        if (at === -1) return ends
      } else if (this.#begins) {
        line = at
        this.#begins = false
        if (this.#isKnown(chunk, at)) {
          at += this.#known.length - 1
          ends.push(at)
          this.#named = true
          continue
        }
      }
      const byte = chunk[at]
      // None stands within a value of a stream, not even in a string.
      if (byte === newline && this.#lines) {
        this.#depth = 0
        this.#inString = false
        this.#escaped = false
        this.#named = false
        this.#begins = true
      } else if (this.#inString) {
        if (!this.#goOn(byte)) continue
        ends.push(at)
        this.#named = this.#lines
        if (line !== undefined) this.#known = Buffer.from(chunk.subarray(line, at + 1))
      } else this.#structure(byte)
    }
    return ends
  }

  #isKnown(chunk: Buffer, at: number): boolean {
    const { length } = this.#known
    const end = at + length
    return length > 0 && end <= chunk.length && chunk.compare(this.#known, 0, length, at, end) === 0
  }

  /** Within a string; true where it ends and was a model's name. */
  #goOn(byte: number | undefined): boolean {
    if (this.#escaped) this.#escaped = false
    else if (byte === backslash) {
      this.#escaped = true
      // No key of ours has one.
      this.#read += '\\'
    } else if (byte === quote) {
      this.#inString = false
      if (this.#role === 'key') this.#key[this.#depth] = this.#read
      return this.#role === 'model'
    } else if (this.#role === 'key' && this.#read.length <= longestKey)
      this.#read += String.fromCharCode(byte ?? 0)
    return false
  }

  #structure(byte: number | undefined): void {
    if (byte === quote) {
      this.#inString = true
      this.#read = ''
      this.#role = this.#roleOfNext()
    } else if (byte === openBrace || byte === openBracket) {
      this.#depth += 1
      this.#before = byte
      if (this.#depth > 2) return
      this.#isObject[this.#depth] = byte === openBrace
      this.#key[this.#depth] = ''
    } else if (byte === closeBrace || byte === closeBracket) {
      this.#depth = Math.max(0, this.#depth - 1)
      this.#before = byte
    } else if (byte === colon || byte === comma) this.#before = byte
  }

  #roleOfNext(): 'key' | 'model' | 'other' {
    const depth = this.#depth
    if (depth < 1 || depth > 2 || !this.#isObject[depth]) return 'other'
    if (this.#before !== colon) return 'key'
    if (this.#key[depth] !== 'model') return 'other'
    const isHeld = depth === 1 || (this.#isObject[1] === true && holders.has(this.#key[1] ?? ''))
    return isHeld ? 'model' : 'other'
  }
}
