/** Two turns without a touch, each answered aloud, and an answer that stops for who speaks over it. */
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandIn } from './lab/gateway.ts'
import { createHome, output, type Engine, type Home } from './lab/home.ts'
import { sentences } from './stand-ins/speech.ts'

describe('a person who talks hands-free', () => {
  let home: Home<Engine>

  beforeAll(async () => {
    home = await createHome((hub) => startStandIn(hub, 'ollama'))
  })
  afterAll(() => home.close())

  const state = (page: Page) => page.getByTestId('state').getAttribute('data-state')
  const said = (page: Page) => page.getByTestId('message-user').getByTestId('text').allTextContents()
  const answers = (page: Page) => page.getByTestId('message-assistant')

  it('is answered twice, and a third time in the middle of an answer, which stops', () => {
    const [first, second, third] = sentences
    return home.visit(
      {
        sentences: [
          { sentence: first, after: 11 },
          { sentence: second, after: 16 },
          { sentence: third, after: 30 },
        ],
        viewport: { width: 390, height: 844 },
        colorScheme: 'light',
      },
      async (page) => {
        await page.getByTestId('hands-free').click()
        await expect.poll(() => state(page)).toBe('listening')
        // The first turn, and its answer, which is heard.
        await expect.poll(() => said(page), { timeout: 15_000 }).toEqual([first])
        await expect.poll(() => state(page), { timeout: 10_000, interval: 20 }).toBe('speaking')
        await page.screenshot({ path: join(output, 'phone-light-speaking.png') })
        const played = async () => Number(await page.getByTestId('state').getAttribute('data-played'))
        await expect.poll(played, { timeout: 10_000 }).toBeGreaterThan(1_000)
        await expect.poll(() => state(page), { timeout: 15_000 }).toBe('listening')
        // The second, by itself.
        await expect.poll(() => said(page), { timeout: 20_000 }).toEqual([first, second])
        await expect.poll(() => answers(page).count(), { timeout: 10_000 }).toBe(2)
        await expect
          .poll(() => answers(page).last().getAttribute('data-status'), { timeout: 20_000 })
          .toBe('completed')
        await expect.poll(() => state(page), { timeout: 15_000 }).toBe('listening')
        // A long answer, and the third over it.
        const composer = page.getByRole('textbox', { name: 'Message' })
        await composer.fill(
          Array.from({ length: 30 }, (_, at) => `This is sentence ${at + 1} of them.`).join(' '),
        )
        await composer.press('Enter')
        await expect.poll(() => state(page), { timeout: 10_000 }).toBe('speaking')
        // Of a long conversation the page has what is in sight: by its place it is not told any more.
        const cut = page.locator('[data-testid=message-assistant][data-status=incomplete]')
        await expect.poll(() => cut.count(), { timeout: 30_000, interval: 20 }).toBe(1)
        const heard = (await cut.getByTestId('text').textContent()) ?? ''
        // What was not heard was not said: its first sentences, and nothing of what was sent ahead.
        const numbers = [...heard.matchAll(/sentence (\d+)/g)].map(([, number]) => Number(number))
        expect(numbers).toEqual(numbers.map((_, at) => at + 1))
        expect(numbers.length).toBeLessThan(15)
        await page.screenshot({ path: join(output, 'phone-light-interrupted.png') })
        await expect.poll(async () => (await said(page)).at(-1), { timeout: 15_000 }).toBe(third)
        await expect
          .poll(() => answers(page).last().getAttribute('data-status'), { timeout: 30_000 })
          .toBe('completed')
        expect(await answers(page).last().getByTestId('text').textContent()).toContain('moon')
      },
    )
  })
})
