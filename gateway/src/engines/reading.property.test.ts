/** What engines send, read: whatever the bytes and however the network cuts them. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openAiGrammar } from '#api/grammars.ts'
import { Failure } from '../failure.ts'
import { hold } from './held.ts'
import { deep, jsonText, pieces } from './json.fixture.ts'
import { isRecord, parseJson } from './json.ts'
import { lines } from './lines.ts'
import { streamEnd } from './stream-end.ts'
import { createTap } from './tap.ts'
import { textOf } from './text-of.ts'
import { readWav, wavHeader } from './wav.ts'

async function* stream(chunks: readonly Buffer[]) {
  yield* chunks
}
async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}
/** Only a failure of our own may come out. */
async function ours<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((error: unknown) => {
    expect(error).toBeInstanceOf(Failure)
    return undefined
  })
}
const bytes = fc.uint8Array({ maxLength: 2_000 })
const line = fc.oneof(jsonText, fc.string({ unit: 'binary' })).map((text) => text.replaceAll(/[\r\n]/g, ''))
const textPieces = (texts: fc.Arbitrary<string>) => pieces(texts.map((text) => Buffer.from(text)))

describe('JSON that others wrote', () => {
  it('is what JSON.parse says, and nothing for what is none', () => {
    fc.assert(
      fc.property(jsonText, (text) => {
        expect(parseJson(text)).toEqual(JSON.parse(text))
      }),
    )
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => void parseJson(text)),
      { numRuns: 500 },
    )
  })

  it('is nothing where it is nested too deep to be walked', () => {
    const nested = (levels: number) => '{"a":['.repeat(levels / 2) + ']}'.repeat(levels / 2)
    expect(parseJson(nested(128))).toBeDefined()
    for (const text of [nested(130), deep, `{"a":1,"b":${deep}}`]) expect(parseJson(text)).toBeUndefined()
  })

  it('is a record only where it is an object', () => {
    for (const text of ['[]', 'null', '"a"', '1']) expect(isRecord(parseJson(text)), text).toBe(false)
  })
})

describe('what is held', () => {
  it('is all that was added, in its order', () => {
    fc.assert(
      fc.property(pieces(bytes), (chunks) => {
        const [first = Buffer.alloc(0), ...more] = chunks
        const held = hold(first)
        for (const chunk of more) held.add(chunk)
        expect(held.bytes.equals(Buffer.concat(chunks))).toBe(true)
      }),
    )
  })
})

describe('lines', () => {
  it('are the same however they are cut, letters of many bytes among them', async () => {
    const given = fc.array(line, { maxLength: 8 }).map((parts) => parts.join('\n'))
    await fc.assert(
      fc.asyncProperty(textPieces(given), async (chunks) => {
        const whole = Buffer.concat(chunks)
          .toString()
          .replace(/^\uFEFF/, '')
        const wanted = whole.split('\n').filter((one) => one.trim() !== '')
        expect(await all(lines(stream(chunks)))).toEqual(wanted)
      }),
      { numRuns: 200 },
    )
  })

  it('without an end are refused, and cost no more for coming in small pieces', async () => {
    const piece = Buffer.alloc(64, 'x')
    const endless = Array.from({ length: 17 * 16_384 }, () => piece)
    await expect(all(lines(stream(endless)))).rejects.toMatchObject({ code: 'bad_upstream' })
  })
})

describe('an answer that is read whole', () => {
  it('is cut where it has no end, and its sender is told', async () => {
    let [sent, told] = [0, false]
    async function* endless() {
      try {
        for (;;) {
          sent += 65_536
          yield Buffer.alloc(65_536)
        }
      } finally {
        told = true
      }
    }
    expect((await textOf(endless())).length).toBe(16 * 1024 * 1024)
    expect([told, sent <= 17 * 1024 * 1024]).toEqual([true, true])
  })
})

describe('a tap', () => {
  const event = line.map((data) => `data: ${data}\n\n`)
  const sse = fc.array(event, { maxLength: 8 }).map((events) => events.join(''))
  it('lets through what came, whole events at a time, however they are cut', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          textPieces(sse).map((chunks) => ['text/event-stream', '\n\n', chunks] as const),
          textPieces(sse).map((chunks) => ['application/x-ndjson', '\n', chunks] as const),
          pieces(bytes).map((chunks) => ['text/event-stream', '\n\n', chunks] as const),
          pieces(bytes).map((chunks) => ['application/json', '', chunks] as const),
        ),
        ([type, border, chunks]) => {
          const tap = createTap(openAiGrammar(true), type)
          const passed = chunks.map((chunk) => tap.pass(chunk)).filter((chunk) => chunk !== undefined)
          for (const chunk of passed) expect(chunk.toString().endsWith(border)).toBe(true)
          const whole = Buffer.concat(chunks)
          const end = border === '' ? whole.length : whole.lastIndexOf(border) + border.length
          expect(Buffer.concat(passed).equals(whole.subarray(0, end < border.length ? 0 : end))).toBe(true)
          expect(typeof tap.whole()).toBe('boolean')
          tap.usage()
        },
      ),
      { numRuns: 400 },
    )
  })

  it('gives up an event without an end, and it costs no more for coming in small pieces', () => {
    const tap = createTap(openAiGrammar(true), 'text/event-stream')
    const piece = Buffer.alloc(64, 'x')
    expect(() => {
      for (let at = 0; at < 17 * 16_384; at += 1) tap.pass(piece)
    }).toThrow('no end')
  })
})

describe('the end of a stream', () => {
  it('is told the same however the stream is cut', () => {
    const kinds = fc.constantFrom('application/x-ndjson', 'text/event-stream')
    const ends = fc.constantFrom('data: [DONE]\n\n', '{"done":true}\n', 'data: {"error":1}', '', '\r\n\n')
    const given = fc
      .tuple(fc.array(line, { maxLength: 4 }), ends)
      .map(([some, end]) => `${some.join('\n')}\n${end}`)
    fc.assert(
      fc.property(kinds, textPieces(given), (type, chunks) => {
        const [cut, once] = [streamEnd(type), streamEnd(type)]
        for (const chunk of chunks) cut?.see(chunk)
        once?.see(Buffer.concat(chunks))
        expect(cut?.whole()).toBe(once?.whole())
      }),
      { numRuns: 300 },
    )
  })
})

describe('a WAV', () => {
  it('gives its samples, however it is cut', async () => {
    const sound = fc.tuple(fc.integer({ min: 1_000, max: 192_000 }), bytes)
    await fc.assert(
      fc.asyncProperty(sound, fc.array(fc.nat(80)), async ([rate, samples], cuts) => {
        const whole = Buffer.concat([wavHeader(rate), samples])
        const chunks = [...cuts, whole.length].toSorted((a, b) => a - b)
        const given = chunks.map((end, at) => whole.subarray(chunks[at - 1] ?? 0, end))
        const read = await readWav(stream(given))
        expect(read.sampleRate).toBe(rate)
        expect(Buffer.concat(await all(read.bytes)).equals(Buffer.from(samples))).toBe(true)
      }),
    )
  })

  it('or is refused, whatever the bytes', async () => {
    const begun = fc
      .tuple(fc.nat(60), bytes)
      .map(([kept, rest]) => Buffer.concat([wavHeader(16_000).subarray(0, kept), rest]))
    await fc.assert(
      fc.asyncProperty(pieces(fc.oneof(bytes, begun)), async (chunks) => {
        const read = await ours(readWav(stream(chunks)))
        if (read) await ours(all(read.bytes))
      }),
      { numRuns: 400 },
    )
  })
})
