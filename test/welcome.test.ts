/** The first visit, in a browser that knows nothing of us; and the page where another server than ours has it. */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { violations } from './lab/axe.ts'
import { openBrowser, trustIn } from './lab/browser.ts'
import {
  joinOverlay,
  startGateway,
  startStandIn,
  temporaryDirectory,
  type RunningGateway,
} from './lab/gateway.ts'
import { output } from './lab/home.ts'
import { createLab, type Lab } from './lab/lab.ts'
import { sentences, speak } from './stand-ins/speech.ts'

const phone = { width: 390, height: 844 }
const desktop = { width: 1280, height: 800 }
/** Of engines that are not there at first, and of the site elsewhere. */
const ports = { ollama: 9590, whisper: 9591, site: 9592 }

describe('the first visit', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  let origin: string
  let plain: string
  let microphone: string
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    await mkdir(output, { recursive: true })
    const config = join(folder.path, 'config.yaml')
    await writeFile(config, `origins: [http://localhost:${ports.site}]\n`)
    const engines = [
      '--ollama',
      `http://127.0.0.1:${ports.ollama}`,
      '--whisper',
      `http://127.0.0.1:${ports.whisper}`,
    ]
    const options = ['--endpoint', lab.hub.address4, '--config', config, ...engines]
    gateway = await startGateway(lab.hub, join(folder.path, 'state'), ...options)
    closers.push(() => gateway.stop())
    await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '', 'phone')
    origin = gateway.origins[0] ?? ''
    plain = origin.replace('https:', 'http:')
    microphone = join(folder.path, 'microphone.wav')
    await speak(sentences[0], microphone, { before: 1, after: 20 })
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  const ca = () => join(gateway.state, 'certs', 'root.crt')
  const directoryOf = (profile: string) => join(folder.path, profile)
  /** A browser on the device, with a profile of that name, which keeps what it learns. */
  async function browse(
    profile: string,
    options: Partial<Parameters<typeof openBrowser>[1]>,
    task: (page: Page, browser: BrowserContext) => Promise<void>,
  ): Promise<void> {
    const directory = directoryOf(profile)
    await mkdir(directory, { recursive: true })
    const browser = await openBrowser(lab.device, { microphone, directory, ...options })
    try {
      await task(browser.pages()[0] ?? (await browser.newPage()), browser)
    } finally {
      await browser.close()
    }
  }
  const check = (page: Page) => page.locator('#check').getAttribute('data-state')
  const step = (page: Page, name: string) => page.getByTestId(`welcome-${name}`).getAttribute('data-state')
  const shoot = (page: Page, name: string) =>
    page.screenshot({ path: join(output, `${name}.png`), fullPage: true })

  it('is told at /enrol that it does not trust us yet', () =>
    browse('fresh', { viewport: phone, colorScheme: 'light' }, async (page) => {
      await page.goto(`${plain}/enrol`)
      await expect.poll(() => check(page), { timeout: 10_000 }).toBe('waiting')
      expect(await page.getByRole('status').textContent()).toContain('Not trusted yet')
      expect(await violations(page)).toEqual([])
      await shoot(page, 'enrol-phone-light-waiting')
    }))

  it('is told the moment that it does, and keeps it', async () => {
    await trustIn(directoryOf('fresh'), ca())
    await browse('fresh', { viewport: phone, colorScheme: 'light' }, async (page) => {
      // Chromium on Linux reads what was added from outside when it starts: until here, it was not trusted.
      await page.route('**/trust.svg*', (route) => route.abort())
      await page.goto(`${plain}/enrol`)
      await expect.poll(() => check(page), { timeout: 10_000 }).toBe('waiting')
      await page.unroute('**/trust.svg*')
      await expect.poll(() => check(page), { timeout: 10_000 }).toBe('trusted')
      expect(await violations(page)).toEqual([])
      await shoot(page, 'enrol-phone-light-trusted')
    })
  })

  it('is led by links where the browser runs no scripts, in German where it asks for that', () =>
    browse('plain', { javaScriptEnabled: false, locale: 'de-DE', viewport: phone }, async (page) => {
      await page.goto(`${plain}/enrol`)
      await page.getByRole('heading', { name: 'Diesem Gateway vertrauen' }).waitFor()
      const link = page.getByRole('link', { name: 'Diese Seite über HTTPS öffnen' })
      expect(await link.getAttribute('href')).toBe(`${origin}/enrol`)
    }))

  it('is not taken in by a warning that was clicked away', () =>
    browse('careless', { viewport: phone, colorScheme: 'dark' }, async (page) => {
      await page.goto(`${origin}/welcome`).catch(() => {})
      // What the button on Chromium's warning does.
      await page.waitForFunction('window.certificateErrorPageController')
      await page.evaluate('setTimeout(() => certificateErrorPageController.proceed())')
      await page.getByRole('heading', { name: 'Welcome' }).waitFor()
      await expect.poll(() => step(page, 'reach'), { timeout: 15_000 }).toBe('good')
      await expect.poll(() => step(page, 'trust'), { timeout: 15_000 }).toBe('bad')
      const link = page.getByTestId('welcome-trust').getByRole('link')
      expect(await link.getAttribute('href')).toBe(`${plain}/enrol`)
      await shoot(page, 'welcome-phone-dark-untrusted')
    }))

  it('goes from there step by step to a talk, each seen to work by the page itself', () =>
    browse('fresh', { viewport: phone, colorScheme: 'light' }, async (page) => {
      await page.goto(`${plain}/enrol`)
      await page.getByRole('link', { name: 'Go on' }).click()
      await page.getByRole('heading', { name: 'Welcome' }).waitFor()
      expect(page.url()).toBe(`${origin}/welcome`)
      for (const name of ['reach', 'trust'])
        await expect.poll(() => step(page, name), { timeout: 15_000 }).toBe('good')
      // A demo answers, and its remedy is told; the engines are seen as they come.
      await expect.poll(() => step(page, 'engines'), { timeout: 15_000 }).toBe('warning')
      expect(await page.getByTestId('welcome-engines').textContent()).toMatch(/demo[\s\S]*ollama/i)
      expect(await step(page, 'microphone')).toBe('todo')
      expect(await violations(page)).toEqual([])
      await shoot(page, 'welcome-phone-light-begun')
      for (const engine of ['ollama', 'whisper'] as const)
        closers.push((await startStandIn(lab.hub, engine, ports[engine])).stop)
      await page.getByTestId('allow-microphone').click()
      await expect.poll(() => step(page, 'microphone'), { timeout: 15_000 }).toBe('good')
      await page.getByTestId('play-tone').click()
      await page.getByTestId('heard-tone').click()
      await expect.poll(() => step(page, 'speaker')).toBe('good')
      await expect.poll(() => step(page, 'engines'), { timeout: 30_000 }).toBe('good')
      await shoot(page, 'welcome-phone-light-done')
      await page.getByRole('button', { name: 'Start talking' }).click()
      await expect
        .poll(() => page.getByTestId('connection').getAttribute('data-state'), { timeout: 15_000 })
        .toBe('open')
      expect(await page.getByTestId('welcome-hint').count()).toBe(0)
      await page.reload()
      await page.getByTestId('talk').waitFor()
      expect(await page.getByTestId('welcome-hint').count()).toBe(0)
    }))

  it('is a quiet hint on a device that skipped it', () =>
    browse('hasty', { ca: ca(), viewport: desktop, colorScheme: 'dark' }, async (page) => {
      await page.goto(origin)
      await page.getByTestId('welcome-hint').waitFor()
      await page.getByTestId('welcome-hint').getByRole('link').click()
      await page.getByRole('heading', { name: 'Welcome' }).waitFor()
      await expect.poll(() => step(page, 'trust'), { timeout: 15_000 }).toBe('good')
      expect(await violations(page)).toEqual([])
      await shoot(page, 'welcome-desktop-dark')
      await page.getByRole('button', { name: 'Go on without' }).click()
      await page.getByTestId('talk').waitFor()
      expect(await page.getByTestId('welcome-hint').count()).toBe(0)
    }))

  it('talks to the gateway from a page that another server has, where the config lets it in, and from no other', () =>
    browse('apart', { ca: ca(), viewport: desktop, colorScheme: 'light' }, async (page, browser) => {
      const built = join(folder.path, 'site')
      await cp(join(import.meta.dirname, '..', 'web', '.output', 'public'), built, { recursive: true })
      // As a build with NUXT_PUBLIC_WS_URL writes it.
      const index = join(built, 'index.html')
      const html = await readFile(index, 'utf8')
      await writeFile(index, html.replace('wsUrl:""', `wsUrl:"${origin.replace('https:', 'wss:')}"`))
      const site = await startStandIn(lab.device, 'site', ports.site, built)
      const stranger = await startStandIn(lab.device, 'site', 0, built)
      closers.push(site.stop, stranger.stop)
      await page.goto(`http://localhost:${ports.site}/`)
      await expect
        .poll(() => page.getByTestId('connection').getAttribute('data-state'), { timeout: 15_000 })
        .toBe('open')
      const composer = page.getByRole('textbox', { name: 'Message' })
      await composer.fill('From elsewhere.')
      await composer.press('Enter')
      await expect
        .poll(() => page.getByTestId('message-assistant').textContent(), { timeout: 15_000 })
        .toContain('From elsewhere.')
      await page.goto(`http://localhost:${ports.site}/settings`)
      await expect
        .poll(() => page.getByTestId('device-name').textContent(), { timeout: 15_000 })
        .toBe('phone')
      expect(await page.locator('main').textContent()).toContain('not served by the gateway itself')
      await shoot(page, 'settings-desktop-light-apart')
      const other = await browser.newPage()
      await other.goto(stranger.url.replace('127.0.0.1', 'localhost'))
      const refused = other.evaluate(
        `fetch('${origin}/sotto/me').then((answer) => answer.status, () => 'refused')`,
      )
      expect(await refused).toBe('refused')
      expect(await other.getByTestId('connection').getAttribute('data-state')).not.toBe('open')
    }))
})
