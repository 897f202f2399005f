import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandIn } from './lab/gateway.ts'
import { createHome, output, type Engine, type Home } from './lab/home.ts'

describe('the page on a device', () => {
  let home: Home<Engine>

  beforeAll(async () => {
    home = await createHome((hub) => startStandIn(hub, 'ollama'))
  })
  afterAll(() => home.close())

  it('answers what is typed, and stops when it is told to', () =>
    home.visit({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' }, async (page) => {
      const composer = page.getByRole('textbox', { name: 'Message' })
      await composer.fill('How do I keep my tomatoes happy on a north-facing balcony?')
      await composer.press('Enter')
      const answers = page.getByTestId('message-assistant')
      await expect
        .poll(() => answers.last().getAttribute('data-status'), { timeout: 15_000 })
        .toBe('completed')
      await page.screenshot({ path: join(output, 'desktop-light.png') })
      await composer.fill(Array.from({ length: 400 }, (_, index) => `word${index}`).join(' '))
      await composer.press('Enter')
      await page.getByTestId('stop').click()
      await expect.poll(() => answers.last().getAttribute('data-status')).toBe('incomplete')
      await expect.poll(() => page.getByTestId('state').getAttribute('data-state')).toBe('idle')
    }))

  it('says that it heard nothing when nothing was said, and does not answer', () =>
    home.visit({ viewport: { width: 390, height: 844 } }, async (page) => {
      await page.getByTestId('talk').focus()
      await page.keyboard.press('Enter')
      await expect.poll(() => page.getByTestId('state').getAttribute('data-state')).toBe('listening')
      await page.waitForTimeout(1_000)
      await page.keyboard.press('Enter')
      const said = page.getByTestId('message-user')
      await expect.poll(() => said.getAttribute('data-status'), { timeout: 15_000 }).toBe('empty')
      await expect.poll(() => page.getByTestId('state').getAttribute('data-state')).toBe('idle')
      expect(await page.getByTestId('message-assistant').count()).toBe(0)
    }))

  it('says when the system took its sound away, and goes on at a touch (open-webui 28673, voicemode 299)', () =>
    home.visit({ viewport: { width: 390, height: 844 } }, async (page) => {
      await page.addInitScript(`
        window.contexts = []
        window.AudioContext = class extends AudioContext {
          constructor(options) {
            super(options)
            window.contexts.push({ context: this, options })
          }
        }`)
      await page.reload()
      const state = page.getByTestId('state')
      const played = async () => Number(await state.getAttribute('data-played'))
      await page.getByTestId('hands-free').click()
      const composer = page.getByRole('textbox', { name: 'Message' })
      await composer.fill(
        Array.from({ length: 8 }, (_, at) => `This is sentence ${at + 1} of them.`).join(' '),
      )
      await composer.press('Enter')
      await expect.poll(played, { timeout: 15_000 }).toBeGreaterThan(500)
      // At the device's own rate: Firefox refuses a microphone at another one (openai-realtime-console 5).
      expect(await page.evaluate('window.contexts.map(({ options }) => options?.sampleRate)')).toEqual([
        undefined,
      ])
      // As iOS does for a call.
      await page.evaluate('window.contexts[0].context.suspend()')
      const paused = page.getByTestId('paused')
      await expect.poll(() => paused.count(), { timeout: 5_000 }).toBe(1)
      const before = await played()
      await page.screenshot({ path: join(output, 'phone-paused.png') })
      await paused.click()
      await expect.poll(played, { timeout: 5_000 }).toBeGreaterThan(before + 500)
      expect(await paused.count()).toBe(0)
    }))

  it('shows that it is a demo, and how it gets real, while there are no engines', () =>
    home.visit({ viewport: { width: 390, height: 844 }, colorScheme: 'light' }, async (page) => {
      for (const engine of [home.ollama, home.whisper]) await engine.stop()
      for (const engine of ['engine-chat', 'engine-transcription'])
        await expect
          .poll(() => page.getByTestId(engine).getAttribute('data-kind'), { timeout: 15_000 })
          .toBe('demo')
      expect(await page.getByTestId('demo-notice').textContent()).toMatch(/ollama pull[\s\S]*--whisper/)
      const composer = page.getByRole('textbox', { name: 'Message' })
      await composer.fill('Are you real?')
      await composer.press('Enter')
      const answer = page.getByTestId('message-assistant')
      await expect.poll(() => answer.getAttribute('data-status'), { timeout: 15_000 }).toBe('completed')
      expect(await answer.textContent()).toMatch(/\[Demo\][\s\S]*Are you real\?[\s\S]*Demo$/)
      await page.screenshot({ path: join(output, 'phone-light-demo.png') })
    }))
})
