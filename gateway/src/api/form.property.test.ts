import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { pieces } from '#engines/json.fixture.ts'
import { Failure } from '../failure.ts'
import { readForm } from './form.ts'

const multipart = 'multipart/form-data; boundary=x'
/** A request as Node hands it over, in the pieces that the network made. */
function sent(chunks: readonly Buffer[], type = multipart): IncomingMessage {
  const request = new IncomingMessage(new Socket())
  request.headers['content-type'] = type
  for (const chunk of chunks) if (chunk.length > 0) request.push(chunk)
  request.complete = true
  request.push(null)
  return request
}
const part = (disposition: string, content: string | Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(`--x\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n`),
    Buffer.from(content),
    Buffer.from('\r\n'),
  ])
const end = Buffer.from('--x--\r\n')
/** In pieces as a socket has them. */
const asItComes = (whole: Buffer): Buffer[] =>
  Array.from({ length: Math.ceil(whole.length / 65_536) }, (_, at) =>
    whole.subarray(at * 65_536, (at + 1) * 65_536),
  )
/** Nothing of a file may be taken for the border. */
const content = fc
  .uint8Array({ maxLength: 2_000 })
  .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0x2d ? 0 : byte))))

describe('a form', () => {
  it('is read as it was written, however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        content.chain((file) =>
          fc.record({
            file: fc.constant(file),
            chunks: pieces(
              fc.constant(
                Buffer.concat([
                  part('name="model"', 'whisper'),
                  part('name="file"; filename="a.wav"', file),
                  end,
                ]),
              ),
            ),
          }),
        ),
        async ({ file, chunks }) => {
          const form = await readForm(sent(chunks))
          expect(form.get('model')).toBe('whisper')
          const read = form.get('file')
          expect(read instanceof File && Buffer.from(await read.arrayBuffer()).equals(file)).toBe(true)
        },
      ),
    )
  })

  it('or is refused in words, whatever it is', async () => {
    const begun = fc
      .tuple(content, content)
      .map(([one, other]) => Buffer.concat([part('name="a"', one), other]))
    const types = fc.constantFrom(
      multipart,
      'multipart/form-data; boundary=',
      'multipart/form-data;',
      'text/plain',
      '',
    )
    await fc.assert(
      fc.asyncProperty(pieces(fc.oneof(content, begun)), types, async (chunks, type) => {
        try {
          await readForm(sent(chunks, type))
        } catch (error) {
          expect(error).toBeInstanceOf(Failure)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('of half a million parts is refused at the sixty-fifth (it held up everybody for seconds)', async () => {
    const many = Buffer.from(`--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n`.repeat(500_000))
    await expect(readForm(sent(asItComes(many)))).rejects.toMatchObject({ code: 'invalid' })
  })

  it('whose headers have no end holds no more of them than its limit', async () => {
    const endless = Buffer.from(
      `--x\r\nContent-Disposition: form-data; name="a"\r\n${'X-A: b\r\n'.repeat(500_000)}`,
    )
    await expect(readForm(sent(asItComes(endless)))).rejects.toMatchObject({ code: 'invalid' })
  })

  it('larger than a recording may be is refused', async () => {
    const large = part('name="file"; filename="a"', Buffer.alloc(26 * 1024 * 1024))
    await expect(readForm(sent([large, end]))).rejects.toMatchObject({ code: 'too_large' })
  })
})
