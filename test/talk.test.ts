import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createHome, output, type Home } from './lab/home.ts'
import { startOllama, type TestOllama } from './lab/ollama.ts'
import { sentences } from './stand-ins/speech.ts'

describe('a device talks to its own AI over WireGuard', () => {
  let home: Home<TestOllama>

  beforeAll(async () => {
    home = await createHome(startOllama)
    process.stderr.write(
      `· Answers come from ${home.ollama.real ? 'the real Ollama' : 'the stand-in for Ollama'}\n`,
    )
  })
  afterAll(() => home.close())

  for (const sentence of sentences.slice(0, 3))
    it(`hears “${sentence}” and answers it`, () =>
      home.visit(
        { sentence, viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
        async (page, requests) => {
          // What the engine says to just these words, asked on the hub itself.
          const expected = await askDirectly(home, sentence)
          const lengths = await watchAnswer(page)
          await page.getByTestId('talk').click()
          await expect.poll(() => page.getByTestId('state').getAttribute('data-state')).toBe('listening')
          // The recording's own length: a second of silence, then the sentence.
          await page.waitForTimeout(2_500)
          await page.screenshot({ path: join(output, 'phone-dark-listening.png') })
          await page.waitForTimeout(2_500)
          await page.getByTestId('talk').click()
          const said = page.getByTestId('message-user').getByTestId('text')
          await expect.poll(() => said.textContent(), { timeout: 15_000 }).toBe(sentence)
          const answer = page.getByTestId('message-assistant')
          await expect.poll(() => answer.getAttribute('data-status'), { timeout: 30_000 }).toBe('completed')
          expect((await answer.getByTestId('text').innerText()).trim()).toBe(expected)
          // It grew on the page while it was being said.
          expect((await lengths()).length).toBeGreaterThan(1)
          await page.screenshot({ path: join(output, 'phone-dark.png') })
          const { host } = new URL(home.gateway.origins[0] ?? '')
          expect(requests.filter((request) => request.host !== host)).toEqual([])
          expect(requests.length).toBeGreaterThan(3)
        },
      ))
})

async function askDirectly({ hub, ollama }: Home<TestOllama>, content: string): Promise<string> {
  const body = JSON.stringify({ model: ollama.model, stream: false, messages: [{ role: 'user', content }] })
  const { stdout } = await hub.run('curl', '-sS', `${ollama.url}/api/chat`, '-d', body)
  return JSON.parse(stdout).message.content
}

/** The lengths that the answer has had on the page, each time it changed. */
async function watchAnswer(page: Page): Promise<() => Promise<number[]>> {
  await page.evaluate(`
    window.lengths = new Set()
    new MutationObserver(() => {
      const text = document.querySelector('[data-testid=message-assistant] [data-testid=text]')
      if (text) window.lengths.add(text.textContent.length)
    }).observe(document.body, { subtree: true, childList: true, characterData: true })`)
  return () => page.evaluate('[...window.lengths]')
}
