import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import type { Hearing } from './engine.ts'
import { inTurn } from './turns.ts'
import { json, left, serveWhisperCpp, type Call } from './upstream.fixture.ts'
import { wav } from './wav.fixture.ts'
import { findWhisper } from './whisper.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const never = new AbortController().signal

/** A whisper.cpp that answers when it is told to; a recording is told from others by its length. */
async function listening() {
  const heard: { readonly samples: number; readonly call: Call; answer(): void }[] = []
  const served = await serveWhisperCpp((call) => {
    const form = new Response(new Uint8Array(call.body), {
      headers: { 'content-type': call.request.headers['content-type'] ?? '' },
    }).formData()
    return form.then((fields) => {
      const samples = ((fields.get('file') as File).size - 44) / 2
      heard.push({ samples, call, answer: () => json(call.response, 200, { text: `${samples}` }) })
    })
  })
  const whisper = await findWhisper(served.url, never)
  closers.push(served.close, () => whisper.close())
  const engine = inTurn(whisper)
  return {
    heard,
    engine,
    hear: (samples: number, hearing?: Hearing, signal = never) =>
      engine.transcribe(new Int16Array(samples), signal, hearing),
  }
}

describe('the turn of a recording', () => {
  it('comes one after another, tenants and callers in turn, so that nobody blocks another (whisper.cpp 1803, 3952)', async () => {
    const { heard, hear } = await listening()
    const all = [
      hear(1, { tenant: 'a', caller: 'x' }),
      hear(2, { tenant: 'a', caller: 'x' }),
      hear(3, { tenant: 'a', caller: 'x' }),
      hear(4, { tenant: 'b', caller: 'y' }),
    ]
    for (let turn = 0; turn < 4; turn += 1) {
      await expect.poll(() => heard.length).toBe(turn + 1)
      heard[turn]?.answer()
    }
    expect(await Promise.all(all)).toEqual(['1', '2', '3', '4'])
    expect(heard.map(({ samples }) => samples)).toEqual([1, 2, 4, 3])
  })

  it('is a file’s, too, and none’s that is not wanted any more', async () => {
    const { engine, heard, hear } = await listening()
    const first = hear(1)
    const stop = new AbortController()
    const gone = hear(2, {}, stop.signal)
    const file = engine.transcribeFile(new Blob([new Uint8Array(wav(new Int16Array(3), 16_000))]), {}, never)
    stop.abort()
    await expect(gone).rejects.toThrow('abort')
    await expect.poll(() => heard.length).toBe(1)
    heard[0]?.answer()
    expect(await first).toBe('1')
    await expect.poll(() => heard.length).toBe(2)
    heard[1]?.answer()
    expect((await file).text).toContain('3')
  })

  it('is never waited for by a partial', async () => {
    const { heard, hear } = await listening()
    const final = hear(1)
    await expect(hear(2, { urgency: 'partial' })).rejects.toMatchObject({ code: 'busy' })
    await expect.poll(() => heard.length).toBe(1)
    heard[0]?.answer()
    await final
    const partial = hear(3, { urgency: 'partial' })
    await expect.poll(() => heard.length).toBe(2)
    heard[1]?.answer()
    expect(await partial).toBe('3')
  })

  it('is left free for a while after each partial', async () => {
    const { heard, hear } = await listening()
    const first = hear(1, { urgency: 'partial' })
    await expect.poll(() => heard.length).toBe(1)
    heard[0]?.answer()
    await first
    await expect(hear(2, { urgency: 'partial' })).rejects.toMatchObject({ code: 'busy' })
    // A final need not wait for that.
    const final = hear(3)
    await expect.poll(() => heard.length).toBe(2)
    heard[1]?.answer()
    await final
    await pause(100)
    const next = hear(4, { urgency: 'partial' })
    await expect.poll(() => heard.length).toBe(3)
    heard[2]?.answer()
    expect(await next).toBe('4')
  })

  it('is taken from a running partial by a final: its connection is closed, and it says that it is busy', async () => {
    const { heard, hear } = await listening()
    const partial = hear(1, { urgency: 'partial' })
    await expect.poll(() => heard.length).toBe(1)
    const gone = left((heard[0] as { call: Call }).call.response)
    const final = hear(2)
    await expect(partial).rejects.toMatchObject({ code: 'busy' })
    await gone
    await expect.poll(() => heard.length).toBe(2)
    heard[1]?.answer()
    expect(await final).toBe('2')
  })
})
