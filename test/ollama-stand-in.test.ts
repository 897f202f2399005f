/** The stand-in for Ollama is held to what the real one answered. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandIn } from './lab/gateway.ts'
import { calls, put, shapeOf, type Answer } from './recordings/calls.ts'
import recordings from './recordings/ollama.json' with { type: 'json' }

describe('the stand-in for Ollama', () => {
  let standIn: Awaited<ReturnType<typeof startStandIn>>
  const recorded: Record<string, Answer> = recordings

  beforeAll(async () => {
    standIn = await startStandIn(undefined, 'ollama')
  })
  afterAll(() => standIn.stop())

  for (const [name, call] of Object.entries(calls))
    it(`answers “${name}” in the shape of Ollama ${JSON.parse(recorded.version?.text ?? '{}').version}`, async () => {
      expect(recorded[name]).toBeDefined()
      expect(shapeOf(await put(standIn.url, 'stand-in', call))).toEqual(shapeOf(recorded[name]!))
    })

  it('answers from the prompt that it was sent', async () => {
    const ask = (content: string) =>
      put(standIn.url, 'stand-in', {
        method: 'POST',
        path: '/api/chat',
        body: JSON.stringify({ model: 'stand-in', stream: false, messages: [{ role: 'user', content }] }),
      })
    expect((await ask('one two')).text).toContain('You said: one two. That is 2 words.')
    expect((await ask('three')).text).not.toContain('one two')
  })
})
