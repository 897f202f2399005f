import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBrowser } from './lab/browser.ts'
import {
  joinOverlay,
  startGateway,
  startStandIn,
  temporaryDirectory,
  type RunningGateway,
} from './lab/gateway.ts'
import { createLab, type Lab } from './lab/lab.ts'
import { sentences, speak } from './stand-ins/speech.ts'

const output = join(import.meta.dirname, '..', 'test-output')
const phone = { width: 390, height: 844 }
const desktop = { width: 1280, height: 800 }

describe('a device talks to its own AI over WireGuard', () => {
  let lab: Lab
  let gateway: RunningGateway
  let engines: { stop(): Promise<void> }[]
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    await mkdir(output, { recursive: true })
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    const whisper = await startStandIn(lab.hub, 'whisper')
    closers.push(whisper.stop)
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(ollama.stop)
    engines = [whisper, ollama]
    const options = ['--endpoint', lab.hub.address4, '--ollama', ollama.url, '--whisper', whisper.url]
    gateway = await startGateway(lab.hub, `${folder.path}/state`, ...options)
    closers.push(gateway.stop)
    await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '')
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  async function withPage<T>(
    sentence: string,
    options: object,
    task: (page: Page, requests: URL[]) => Promise<T>,
  ): Promise<T> {
    const microphone = join(folder.path, 'microphone.wav')
    await speak(sentence, microphone, { before: 1, after: 20 })
    const browser = await openBrowser(lab.device, {
      ca: `${gateway.state}/certs/root.crt`,
      microphone,
      directory: folder.path,
      ...options,
    })
    try {
      const page = browser.pages()[0] ?? (await browser.newPage())
      const requests: URL[] = []
      page.on('request', (request) => requests.push(new URL(request.url())))
      await page.goto(gateway.origins[0] ?? '')
      await expect
        .poll(() => page.getByTestId('connection').getAttribute('data-state'), { timeout: 15_000 })
        .toBe('open')
      return await task(page, requests)
    } finally {
      await browser.close()
    }
  }

  for (const sentence of sentences.slice(0, 3))
    it(`hears “${sentence}” and answers it`, () =>
      withPage(sentence, { viewport: phone, colorScheme: 'dark' }, async (page, requests) => {
        expect(await page.getByTestId('engine-transcription').getAttribute('data-kind')).toBe('whisper.cpp')
        await page.getByTestId('talk').click()
        await expect.poll(() => page.getByTestId('state').getAttribute('data-state')).toBe('listening')
        // The recording's own length: a second of silence, then the sentence.
        await page.waitForTimeout(2_500)
        await page.screenshot({ path: join(output, 'phone-dark-listening.png') })
        await page.waitForTimeout(2_500)
        await page.getByTestId('talk').click()
        const said = page.getByTestId('message-user').getByTestId('text')
        await expect.poll(() => said.textContent(), { timeout: 15_000 }).toBe(sentence)
        const lengths = new Set<number>()
        const answer = page.getByTestId('message-assistant')
        await expect
          .poll(
            async () => {
              lengths.add((await answer.getByTestId('text').textContent())?.length ?? 0)
              return answer.getAttribute('data-status')
            },
            { timeout: 30_000, interval: 10 },
          )
          .toBe('completed')
        expect(await answer.getByTestId('text').textContent()).toBe(
          `You said: ${sentence}. That is ${sentence.split(' ').length} words.`,
        )
        // It grew on the page while it was being written.
        expect(lengths.size).toBeGreaterThan(3)
        await page.screenshot({ path: join(output, 'phone-dark.png') })
        expect(requests.filter(({ host }) => host !== new URL(gateway.origins[0] ?? '').host)).toEqual([])
      }))

  it('answers what is typed, stops when told, and shows it on a desktop', () =>
    withPage('', { viewport: desktop, colorScheme: 'light' }, async (page) => {
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
      await expect.poll(() => answers.count()).toBe(2)
      await page.getByTestId('stop').click()
      await expect.poll(() => answers.last().getAttribute('data-status')).toBe('incomplete')
      await expect.poll(() => page.getByTestId('state').getAttribute('data-state')).toBe('idle')
    }))

  it('shows that it is a demo, and how it gets real, while there are no engines', () =>
    withPage('', { viewport: phone, colorScheme: 'light' }, async (page) => {
      for (const engine of engines) await engine.stop()
      await expect
        .poll(() => page.getByTestId('engine-chat').getAttribute('data-kind'), { timeout: 15_000 })
        .toBe('demo')
      await expect
        .poll(() => page.getByTestId('engine-transcription').getAttribute('data-kind'), { timeout: 15_000 })
        .toBe('demo')
      expect(await page.getByTestId('demo-notice').textContent()).toMatch(/ollama pull[\s\S]*--whisper/)
      await page.getByRole('textbox', { name: 'Message' }).fill('Are you real?')
      await page.getByRole('textbox', { name: 'Message' }).press('Enter')
      const answer = page.getByTestId('message-assistant')
      await expect.poll(() => answer.getAttribute('data-status'), { timeout: 15_000 }).toBe('completed')
      expect(await answer.textContent()).toMatch(/\[Demo\][\s\S]*Are you real\?[\s\S]*Demo$/)
      await page.screenshot({ path: join(output, 'phone-light-demo.png') })
    }))
})
