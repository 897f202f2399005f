import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deep, jsonText, mutated } from '#engines/json.fixture.ts'
import { Failure } from '../failure.ts'
import { inputBound, readJson, readModelRequest, staysHere, withinLimits, writeBody } from './body.ts'

/** A request as Node hands it over. */
function sent(body: Buffer | string, headers: Record<string, string> = {}): IncomingMessage {
  const request = new IncomingMessage(new Socket())
  Object.assign(request.headers, headers)
  request.push(body)
  request.complete = true
  request.push(null)
  return request
}
const limits = { keepAliveMs: 60_000, contextTokens: 4_096 }

/** All that is done to a request before it goes upstream; only a `Failure` may come out of it. */
async function taken(body: Buffer | string): Promise<string | undefined> {
  try {
    const read = await readModelRequest(sent(body))
    staysHere(read)
    const request = withinLimits(read, limits, false)
    const written = writeBody(request)
    expect(inputBound(request, written.length)).toBeGreaterThanOrEqual(0)
    return written.toString()
  } catch (error) {
    expect(error).toBeInstanceOf(Failure)
    return undefined
  }
}

const content = fc.oneof(
  fc.string(),
  jsonText.map((text) => JSON.parse(text) as unknown),
)
const request = fc.record({
  model: fc.constant('tiny'),
  messages: fc.array(fc.record({ role: fc.constant('user'), content }), { maxLength: 3 }),
  keep_alive: fc.oneof(fc.integer(), fc.constantFrom('5m', '-1s', '1h30m', '', 'm')),
  options: fc.record({ num_ctx: fc.nat(4_096) }),
})

describe('the body of a request', () => {
  it('that is right goes upstream as it came', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom('seed', 'think', 'format'), content), async (more) => {
        const whole = { ...more, model: 'tiny' }
        const written = await taken(JSON.stringify(whole))
        if (written !== undefined) expect(JSON.parse(written)).toEqual(JSON.parse(JSON.stringify(whole)))
      }),
    )
  })

  it('of whatever kind is taken, or refused in words', async () => {
    const bodies = fc.oneof(
      jsonText,
      mutated(request).map((object) => JSON.stringify(object)),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    )
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        const written = await taken(body)
        if (written !== undefined) expect(JSON.parse(written)).toHaveProperty('model')
        expect(Object.keys(Object.prototype)).toEqual([])
      }),
      { numRuns: 500 },
    )
  })

  it('that is nested too deep to be written again is refused (it was a 500)', async () => {
    for (const field of ['messages', 'tools', 'format', 'other'])
      await expect(readJson(sent(`{"model":"tiny","${field}":${deep}}`))).rejects.toMatchObject({
        code: 'invalid',
      })
  })

  it('with a keep_alive as long as a book is refused (it was searched for hours)', async () => {
    const long = { model: 'tiny', keep_alive: `${'1'.repeat(5_000_000)}x` }
    expect(await taken(JSON.stringify(long))).toBeUndefined()
  })

  it('that is packed is refused unread: a few KiB would be gigabytes', async () => {
    for (const packing of ['gzip', 'zstd', 'br', 'deflate', 'gzip, gzip'])
      await expect(readJson(sent('{}', { 'content-encoding': packing }))).rejects.toMatchObject({
        code: 'invalid',
      })
  })
})
