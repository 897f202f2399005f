/** The voice view and what is set for it: one talks in it, leaves it, and it is as one likes it. */
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { violations } from './lab/axe.ts'
import { startStandIn } from './lab/gateway.ts'
import { createHome, output, type Engine, type Home } from './lab/home.ts'
import { sentences } from './stand-ins/speech.ts'

const phone = { width: 390, height: 844 }
const desktop = { width: 1280, height: 800 }

describe('the voice view', () => {
  let home: Home<Engine>

  beforeAll(async () => {
    home = await createHome((hub) => startStandIn(hub, 'ollama'))
  })
  afterAll(() => home.close())

  const mode = (page: Page) => page.getByTestId('voice-state').getAttribute('data-mode')
  /** Once the shape has flowed into its state. */
  const shoot = async (page: Page, name: string): Promise<void> => {
    await page.waitForTimeout(400)
    await page.screenshot({ path: join(output, `voice-${name}.png`) })
  }
  async function open(page: Page): Promise<void> {
    await page.getByTestId('voice').click()
    await page.getByTestId('voice-view').waitFor()
  }
  /** The switch keeps its place from visit to visit. */
  async function handsFree(page: Page, on: boolean): Promise<void> {
    const now = (await page.getByTestId('voice-hands-free').getAttribute('aria-checked')) === 'true'
    if (now !== on) await page.getByTestId('voice-hands-free').click()
  }

  it('shows each state of a turn and its words as they come, and leaves them in the thread', () => {
    const [sentence] = sentences
    return home.visit({ sentence, viewport: phone, colorScheme: 'light' }, async (page) => {
      await open(page)
      await expect.poll(() => mode(page), { timeout: 10_000 }).toBe('idle')
      expect(await violations(page)).toEqual([])
      await shoot(page, 'phone-light-idle')
      const seen = await watchView(page)
      await handsFree(page, true)
      await expect.poll(() => mode(page), { timeout: 10_000 }).toBe('listening')
      await expect.poll(() => mode(page), { timeout: 20_000, interval: 20 }).toBe('speaking')
      await shoot(page, 'phone-light-speaking')
      await expect.poll(() => mode(page), { timeout: 20_000 }).toBe('listening')
      const answer = (await page.getByTestId('voice-said').textContent()) ?? ''
      expect(answer).toContain(sentence)
      expect(await page.getByTestId('voice-agreed').textContent()).toBe(sentence)
      expect(await violations(page)).toEqual([])
      const { modes, captions } = await seen()
      expect(modes).toEqual(['listening', 'thinking', 'speaking', 'listening'])
      // Word by word, each longer than the one before it, and the rest of the sentence lighter beside it.
      expect(captions.length).toBeGreaterThan(4)
      expect(captions.map(({ said }) => said.length)).toEqual(
        captions.map(({ said }) => said.length).toSorted((a, b) => a - b),
      )
      expect(captions.every(({ said, coming }) => answer.startsWith(said) && answer.includes(coming))).toBe(
        true,
      )
      expect(captions.some(({ said, coming }) => said !== '' && coming !== '')).toBe(true)
      // What is said to a muted microphone is not heard.
      await page.getByTestId('voice-mute').click()
      await expect.poll(() => mode(page), { timeout: 10_000 }).toBe('muted')
      await shoot(page, 'phone-light-muted')
      await page.keyboard.press('Escape')
      await expect.poll(() => page.getByTestId('voice-view').count()).toBe(0)
      await expect.poll(() => page.getByTestId('state').getAttribute('data-state')).toBe('idle')
      expect(await page.getByTestId('message-user').getByTestId('text').textContent()).toBe(sentence)
      expect(await page.getByTestId('message-assistant').getByTestId('text').textContent()).toContain(
        sentence,
      )
    })
  })

  it('takes the space bar for talking, is stopped by it, and goes on with what was said as text', () =>
    home.visit({ sentence: sentences[1], viewport: desktop, colorScheme: 'dark' }, async (page) => {
      await open(page)
      await handsFree(page, false)
      await page.getByTestId('voice-orb').focus()
      await page.keyboard.press('Space')
      await expect.poll(() => mode(page), { timeout: 10_000 }).toBe('listening')
      await shoot(page, 'desktop-dark-listening')
      // The recording's own length: a second of silence, then the sentence.
      await page.waitForTimeout(4_000)
      await page.keyboard.press('Space')
      await expect
        .poll(() => page.getByTestId('voice-agreed').textContent(), { timeout: 15_000 })
        .toBe(sentences[1])
      await expect.poll(() => mode(page), { timeout: 15_000 }).toBe('speaking')
      await page.getByTestId('voice-interrupt').click()
      await expect.poll(() => mode(page), { timeout: 10_000 }).toBe('idle')
      await expect
        .poll(() => page.getByTestId('message-assistant').last().getAttribute('data-status'))
        .toBe('incomplete')
      await page.getByTestId('voice-timings-toggle').click()
      await page.getByTestId('voice-view').getByTestId('timings').waitFor()
      await shoot(page, 'desktop-dark-interrupted')
      expect(await violations(page)).toEqual([])
      await page.getByRole('button', { name: 'Larger' }).click()
      const box = await page.getByRole('dialog').boundingBox()
      expect(box).toMatchObject(desktop)
      await page.getByTestId('voice-end').click()
      await expect.poll(() => page.getByTestId('voice-view').count()).toBe(0)
      const composer = page.getByRole('textbox', { name: 'Message' })
      await composer.fill('And now in writing.')
      await composer.press('Enter')
      const answer = page.getByTestId('message-assistant').last()
      await expect.poll(() => answer.textContent(), { timeout: 15_000 }).toContain('And now in writing.')
    }))

  it('says when the system took its sound, and when the gateway is out of reach', () =>
    home.visit({ viewport: phone, colorScheme: 'dark' }, async (page) => {
      await page.addInitScript(`
        window.contexts = []
        window.AudioContext = class extends AudioContext {
          constructor(options) {
            super(options)
            window.contexts.push(this)
          }
        }`)
      await page.reload()
      await expect
        .poll(() => page.getByTestId('connection').getAttribute('data-state'), { timeout: 15_000 })
        .toBe('open')
      await page.getByTestId('hands-free').click()
      const composer = page.getByRole('textbox', { name: 'Message' })
      await composer.fill(
        Array.from({ length: 8 }, (_, at) => `This is sentence ${at + 1} of them.`).join(' '),
      )
      await composer.press('Enter')
      await open(page)
      await expect.poll(() => mode(page), { timeout: 15_000 }).toBe('speaking')
      await page.evaluate('window.contexts[0].suspend()')
      await expect.poll(() => mode(page), { timeout: 5_000 }).toBe('paused')
      await shoot(page, 'phone-dark-paused')
      await page.getByTestId('voice-orb').click()
      await expect.poll(() => mode(page), { timeout: 5_000 }).toBe('speaking')
      home.gateway.process.kill('SIGSTOP')
      try {
        await expect.poll(() => mode(page), { timeout: 15_000 }).toBe('reconnecting')
        await shoot(page, 'phone-dark-reconnecting')
      } finally {
        home.gateway.process.kill('SIGCONT')
      }
      await expect.poll(() => mode(page), { timeout: 20_000 }).not.toBe('reconnecting')
      await page.keyboard.press('Escape')
      await page.getByTestId('hands-free').click()
    }))

  it('lets another microphone be chosen in the middle of a talk, and remembers it', () =>
    home.visit({ viewport: desktop, colorScheme: 'light' }, async (page) => {
      const { sessions, frames } = watchSocket(page)
      await page.reload()
      await open(page)
      await handsFree(page, true)
      await expect.poll(() => mode(page), { timeout: 10_000 }).toBe('listening')
      await page.getByTestId('voice-devices').click()
      await page.getByTestId('microphone').click()
      const options = await page.getByRole('option').allTextContents()
      expect(options).toEqual(['The system’s choice', 'Fake Audio Input 1', 'Fake Audio Input 2'])
      await page.getByRole('option', { name: 'Fake Audio Input 2' }).click()
      await expect.poll(() => remembered(page, 'microphone')).toMatch(/^[0-9a-f]{64}$/)
      const before = frames()
      await expect.poll(frames, { timeout: 15_000 }).toBeGreaterThan(before + 25)
      expect(sessions()).toHaveLength(1)
      expect(await mode(page)).toBe('listening')
      await shoot(page, 'desktop-light-devices')
      expect(await violations(page)).toEqual([])
      await page.reload()
      await page.goto(`${new URL(page.url()).origin}/settings`)
      await expect
        .poll(() => page.getByTestId('microphone').textContent(), { timeout: 15_000 })
        .toContain('Fake Audio Input 2')
      // One that is not plugged in any more gives way to the system's, and is not forgotten.
      await page.evaluate(
        `localStorage.setItem('sotto.preferences', JSON.stringify({ microphone: 'unplugged' }))`,
      )
      await page.reload()
      await expect
        .poll(() => page.getByTestId('microphone').textContent(), { timeout: 15_000 })
        .toContain('Not plugged in')
      await page.getByTestId('test-microphone').click()
      await page.getByTestId('level').waitFor()
      expect(await remembered(page, 'microphone')).toBe('unplugged')
    }))

  it('tests microphone and speaker, and plays where it was told to', () =>
    home.visit({ sentence: sentences[2], viewport: phone, colorScheme: 'dark' }, async (page) => {
      await page.addInitScript(`
        window.sinks = []
        const route = AudioContext.prototype.setSinkId
        AudioContext.prototype.setSinkId = function (id) {
          window.sinks.push(id)
          return route.call(this, id)
        }`)
      await page.goto(`${new URL(page.url()).origin}/settings`)
      await page.getByTestId('test-microphone').click()
      await expect
        .poll(() => page.getByTestId('microphone-heard').getAttribute('data-heard'), { timeout: 15_000 })
        .toBe('true')
      await page.getByTestId('microphone').scrollIntoViewIfNeeded()
      await shoot(page, 'settings-phone-dark-sound')
      await page.getByTestId('speaker').click()
      await page.getByRole('option', { name: 'Fake Audio Output 1' }).click()
      await page.getByTestId('test-speaker').click()
      const chosen = await remembered(page, 'speaker')
      await expect.poll(() => page.evaluate('window.sinks.at(-1)')).toBe(chosen)
    }))

  it('has its session set as the settings say', () =>
    home.visit({ viewport: desktop, colorScheme: 'light' }, async (page) => {
      const { updated } = watchSocket(page)
      await page.getByRole('link', { name: 'Settings' }).click()
      await page
        .getByTestId('patience')
        .getByRole('radio', { name: /A long pause/ })
        .click()
      await page.getByRole('slider', { name: 'Speed' }).focus()
      for (let step = 0; step < 4; step += 1) await page.keyboard.press('ArrowRight')
      await page.getByTestId('voice-choice').click()
      const voice = page.getByRole('option').nth(1)
      await voice.click()
      const id = await remembered(page, 'voice')
      const on = page.getByTestId('settings-hands-free')
      if ((await on.getAttribute('aria-checked')) === 'false') await on.click()
      expect(await violations(page)).toEqual([])
      await shoot(page, 'settings-desktop-light')
      // By themselves, and not only in this visit.
      await page.goto(new URL(page.url()).origin)
      await expect
        .poll(() => updated()?.audio.input.turn_detection?.silence_duration_ms, { timeout: 15_000 })
        .toBe(1_200)
      await expect.poll(() => updated()?.audio.output).toMatchObject({ voice: id, speed: 1.2 })
      await page.getByRole('link', { name: 'Settings' }).click()
      await page.getByTestId('settings-language').click()
      await page.getByRole('option', { name: 'Deutsch' }).click()
      await page.getByRole('heading', { name: 'Einstellungen' }).waitFor()
      await page.getByTestId('settings-scheme').getByText('Dunkel').click()
      await expect.poll(() => page.evaluate(`document.documentElement.className`)).toContain('dark')
      expect(await violations(page)).toEqual([])
      await shoot(page, 'settings-desktop-dark-de')
    }))
})

const remembered = (page: Page, field: string) =>
  page.evaluate(`JSON.parse(localStorage.getItem('sotto.preferences'))['${field}']`)

/** The states that the view went through, and how its caption grew. */
async function watchView(page: Page) {
  await page.evaluate(`
    window.modes = []
    window.captions = []
    new MutationObserver(() => {
      const text = (id) => document.querySelector('[data-testid=' + id + ']')?.textContent ?? ''
      const mode = document.querySelector('[data-testid=voice-state]')?.dataset.mode
      if (mode && mode !== window.modes.at(-1)) window.modes.push(mode)
      const now = { said: text('voice-said'), coming: text('voice-coming') }
      const before = window.captions.at(-1) ?? { said: '', coming: '' }
      if (now.said !== before.said || now.coming !== before.coming) window.captions.push(now)
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true })`)
  return async () => ({
    modes: (await page.evaluate<string[]>('window.modes')).filter((mode) => mode !== 'idle'),
    captions: await page.evaluate<{ said: string; coming: string }[]>('window.captions'),
  })
}

/** The sessions that the page had, as the last of them is set, and the pieces of sound that it sent. */
function watchSocket(page: Page) {
  const sessions: string[] = []
  let frames = 0
  let updated: Updated | undefined
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => {
      if (typeof payload !== 'string') frames += 1
    })
    socket.on('framereceived', ({ payload }) => {
      if (typeof payload !== 'string') return
      const event = JSON.parse(payload)
      if (event.type === 'session.created') sessions.push(event.session.id)
      if (event.type === 'session.updated') updated = event.session
    })
  })
  return { sessions: () => sessions, frames: () => frames, updated: () => updated }
}

interface Updated {
  readonly audio: {
    readonly input: { readonly turn_detection: null | { readonly silence_duration_ms: number } }
    readonly output: { readonly voice: string; readonly speed: number }
  }
}
