import { describe, expect, it } from 'vitest'
import { demoChat, demoTranscriber } from './demo.ts'

const never = new AbortController().signal

describe('the demo', () => {
  it('says in its answer that it is one, repeats what was asked, and how to get a real one', async () => {
    const pieces: string[] = []
    const messages = [{ role: 'user', content: 'How far is the moon?' }] as const
    for await (const piece of demoChat.chat({ messages }, never)) pieces.push(piece)
    expect(pieces.length).toBeGreaterThan(5)
    expect(pieces.join('')).toMatch(/^\[Demo\].*How far is the moon\?.*ollama pull/)
  })

  it('ends when it is cancelled', async () => {
    const cancel = new AbortController()
    const pieces = demoChat.chat({ messages: [] }, cancel.signal)[Symbol.asyncIterator]()
    await pieces.next()
    cancel.abort()
    await expect(pieces.next()).rejects.toThrow(/abort/i)
  })

  it('says how long the sound was that it can not understand', async () => {
    const hum = Int16Array.from({ length: 36_800 }, (_, at) => 3_000 * Math.sin(at / 10))
    expect(await demoTranscriber.transcribe(hum, never)).toMatch(/demo.*2\.3 s of sound/i)
  })

  it('hears nothing in silence, in a quiet room, and where there are no samples', async () => {
    const quiet = Int16Array.from({ length: 16_000 }, (_, at) => (at % 2 ? 40 : -40))
    for (const samples of [new Int16Array(16_000), quiet, new Int16Array()])
      expect(await demoTranscriber.transcribe(samples, never)).toBe('')
  })
})
