/** The stand-in for Whisper must truly listen: what these tests rest on is itself tested. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandIn, temporaryDirectory } from './lab/gateway.ts'
import { recording, sentences } from './stand-ins/speech.ts'

describe('the stand-in for Whisper', () => {
  let url: string
  let directory: string
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    const folder = await temporaryDirectory()
    directory = folder.path
    const whisper = await startStandIn(undefined, 'whisper')
    url = whisper.url
    closers.push(whisper.stop, folder.remove)
  })
  afterAll(async () => {
    for (const close of closers) await close()
  })

  const post = async (wav: Uint8Array<ArrayBuffer>): Promise<string> => {
    const form = new FormData()
    form.set('file', new Blob([wav]), 'turn.wav')
    form.set('response_format', 'json')
    const answer = await fetch(`${url}/inference`, { method: 'POST', body: form })
    expect(answer.status).toBe(200)
    const { text } = (await answer.json()) as { text: string }
    return text.trim()
  }
  const record = async (sentence: string, effects: string[] = []) =>
    new Uint8Array(await recording(sentence, join(directory, 'turn.wav'), effects))

  const treatments: Record<string, string[]> = {
    'as spoken': [],
    'twice as loud, and so cut': ['gain', '6'],
    'a tenth as loud': ['gain', '-20'],
    'half as loud': ['gain', '-6'],
    'with a second of silence around it': ['pad', '1', '1'],
  }
  for (const sentence of sentences)
    for (const [how, effects] of Object.entries(treatments))
      it(`hears “${sentence}”, ${how}`, async () => {
        expect(await post(await record(sentence, effects))).toBe(sentence)
      })

  for (const sentence of [
    'the quick brown fox jumps over the lazy dog',
    'what is the weather like tomorrow',
    'how far away is the sun',
    'remind me to feed the cat',
  ])
    it(`does not take “${sentence}” for one of its own`, async () => {
      expect(sentences).not.toContain(await post(await record(sentence)))
    })

  it('hears nothing in silence', async () => {
    const file = join(directory, 'silence.wav')
    await execa`sox -n -r 16000 -c 1 -b 16 ${file} trim 0 3`
    expect(await post(new Uint8Array(await readFile(file)))).toBe('')
  })

  for (const sentence of sentences)
    it(`does not hear “${sentence}” when its samples are said to come twice as fast as they do`, async () => {
      const file = join(directory, 'fast.wav')
      await record(sentence)
      await execa`sox -r 16000 ${join(directory, 'turn.wav')} -r 8000 ${file}`
      const half = Buffer.from(await readFile(file))
      // 8 kHz samples under a header of 16 kHz.
      half.writeUInt32LE(16_000, 24)
      half.writeUInt32LE(32_000, 28)
      expect(await post(new Uint8Array(half))).not.toBe(sentence)
    })

  it('refuses what is no audio, and knows no other path, as the real one does', async () => {
    const form = new FormData()
    form.set('file', new Blob(['hello']), 'turn.wav')
    const refused = await fetch(`${url}/inference`, { method: 'POST', body: form })
    expect([refused.status, await refused.text()]).toEqual([400, 'Invalid request'])
    const unknown = await fetch(`${url}/v1/models`)
    expect([unknown.status, await unknown.text()]).toEqual([404, 'File Not Found (/v1/models)'])
  })
})
