/** The admin's pages of what is used, asked, suspicious, limited and served, on the admin's own device. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Download, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sotto, startStandIn } from './lab/gateway.ts'
import { violations } from './lab/axe.ts'
import { createHome, output, type Engine, type Home } from './lab/home.ts'

const phone = { width: 390, height: 844 }
const desktop = { width: 1280, height: 800 }
const pages = ['', 'usage', 'audit', 'threats', 'limits', 'services'] as const

/** Eight browsers may share two cores. */
const soon = { timeout: 20_000 }

const question = { model: 'stand-in', stream: false, messages: [{ role: 'user', content: 'one two three' }] }

describe('the admin’s records', () => {
  let home: Home<Engine>
  let origin: string
  let script: string
  let curious: string

  beforeAll(async () => {
    home = await createHome((hub) => startStandIn(hub, 'ollama'))
    origin = home.gateway.origins[0] ?? ''
    script = (await admin('key', 'add', 'script')).secret
    curious = (await admin('key', 'add', 'curious')).secret
    for (let at = 0; at < 3; at += 1) await ask('/v1/chat/completions', script)
    await ask('/v1/chat/completions')
    for (let at = 0; at < 21; at += 1) await ask('/v1/chat/completions', `sk-sotto-${at}`)
    // A scan, and enough rows for more than a page of them.
    await get('/scan/[1-16]', curious)
    await get('/v1/models?[1-120]')
  })
  afterAll(() => home.close())

  /** Runs a command beside the gateway. */
  async function admin(...args: string[]) {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', home.gateway.state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }

  async function curl(...args: string[]): Promise<string> {
    const ca = join(home.gateway.state, 'certs', 'root.crt')
    const { stdout } = await home.device.run('curl', '-sS', '--max-time', '20', '--cacert', ca, ...args)
    return stdout
  }

  const bearer = (secret: string | undefined): string[] =>
    secret === undefined ? [] : ['-H', `Authorization: Bearer ${secret}`]

  /** Asks from the device; resolves to the status. */
  async function ask(path: string, secret?: string, body: object = question): Promise<number> {
    const data = ['-d', JSON.stringify(body), '-w', '\n%{http_code}']
    return Number((await curl(...bearer(secret), ...data, `${origin}${path}`)).slice(-3))
  }

  /** Gets each of a range of addresses, as curl writes them. */
  function get(paths: string, secret?: string): Promise<string> {
    return curl(...bearer(secret), '-o', '/dev/null', `${origin}${paths}`)
  }

  const open = async (page: Page, name: string): Promise<void> => {
    await page.goto(`${origin}/admin/${name}`)
    await page.getByRole('heading', { level: 1 }).waitFor()
  }

  /** Where a change wants it: the code of the gateway's machine. */
  async function confirm(page: Page): Promise<void> {
    const dialog = page.getByTestId('confirmation')
    await dialog.waitFor()
    const { code } = await admin('admin', 'code')
    await page.getByLabel('Code', { exact: true }).fill(code)
    await page.getByRole('button', { name: 'Confirm' }).click()
    await expect.poll(() => dialog.count(), soon).toBe(0)
  }

  const contentOf = async (download: Download): Promise<string> => readFile(await download.path(), 'utf8')

  it('begin with what one looks at first, and lead on from there', () =>
    home.visit({ viewport: desktop }, async (page) => {
      await open(page, '')
      const text = (id: string) => page.getByTestId(id).textContent()
      await expect.poll(async () => Number(await text('requests-today')), soon).toBeGreaterThan(100)
      expect(Number(await text('refused-today'))).toBeGreaterThanOrEqual(21)
      expect((await text('online'))?.trim()).toBe('1')
      const pairs = (await page.getByTestId('fingerprint').locator('code span span').allTextContents()).join(
        ':',
      )
      expect(pairs).toBe(home.gateway.fingerprint)
      expect(await page.getByText(origin, { exact: true }).count()).toBe(1)
      const threats = page.locator('[data-testid=attention][data-id=threats]')
      await threats.getByRole('link').click()
      await page.waitForURL('**/admin/threats')
    }))

  it('add up what was used, by what one wants it by, and give it away as a file', () =>
    home.visit({ viewport: desktop, acceptDownloads: true }, async (page) => {
      await open(page, 'usage')
      const requests = () => page.getByTestId('total-requests').getAttribute('data-value')
      await page.locator('[data-testid=top-model][data-name="stand-in:latest"]').waitFor()
      await page.getByTestId('by').click()
      await page.getByRole('option', { name: 'By key' }).click()
      await page.getByRole('radiogroup', { name: 'What is counted' }).getByText('Requests').click()
      const all = Number(await requests())
      await page.locator('[data-testid=top-key][data-name=script]').click()
      await expect.poll(requests, soon).toBe('3')
      expect(all).toBeGreaterThan(3)
      await page.reload()
      await expect.poll(requests, soon).toBe('3')
      await page.getByText('As a table').click()
      const today = page.getByTestId('usage-table').locator('tbody tr')
      expect(await today.count()).toBe(1)
      expect(await today.locator('td').allTextContents()).toEqual(['3', '3'])
      const downloading = page.waitForEvent('download')
      await page.getByRole('button', { name: 'Save what is seen as CSV' }).click()
      const lines = (await contentOf(await downloading)).replace('\uFEFF', '').trim().split('\r\n')
      expect(lines[0]).toBe('day,key,requests,input_tokens,output_tokens')
      expect(lines[1]).toMatch(/^\d{4}-\d{2}-\d{2},script,3,\d+,\d+$/)
      expect(lines).toHaveLength(2)
      await page.getByTestId('chip').click()
      await expect.poll(requests, soon).toBe(String(all))
    }))

  it('show each request, filtered by what one looks for, and new ones as they come', () =>
    home.visit({ viewport: desktop, acceptDownloads: true }, async (page) => {
      await open(page, 'audit')
      const rows = page.getByTestId('audit-row')
      await rows.first().waitFor()
      const statuses = async () =>
        new Set(await rows.evaluateAll((all) => all.map((row) => Number(row.getAttribute('data-status')))))

      await page.getByRole('switch', { name: 'Refused only' }).click()
      await expect.poll(async () => Math.min(...(await statuses())), soon).toBeGreaterThanOrEqual(400)
      await page.getByTestId('filters').click()
      await page.getByTestId('filter-key').click()
      await page.getByRole('option', { name: 'curious' }).click()
      await expect.poll(() => rows.count(), soon).toBe(16)
      await expect.poll(() => page.url(), soon).toMatch(/denied=1/)
      expect(page.url()).toMatch(/key=curious/)
      // The list of keys gives the focus back when it has gone: what is typed before that is lost to it.
      const focused = () => page.evaluate<string>("document.activeElement?.dataset.testid ?? ''")
      await expect.poll(focused, soon).toBe('filter-key')
      await page.getByRole('searchbox', { name: 'Path, model or address' }).fill('/scan/7')
      await expect.poll(() => rows.count(), soon).toBe(1)
      await rows.first().getByRole('button').click()
      const detail = await page.getByTestId('audit-detail').textContent()
      for (const known of ['GET /scan/7', 'curious', '10.77.0.2', '404', 'req_'])
        expect(detail).toContain(known)

      const downloading = page.waitForEvent('download')
      await page.getByTestId('export').click()
      const exported = (await contentOf(await downloading)).trim().split('\r\n')
      expect(exported).toHaveLength(17)
      expect(exported.slice(1).every((line) => line.includes('curious') && line.includes('/scan/'))).toBe(
        true,
      )

      await open(page, 'audit')
      await expect.poll(() => rows.count(), soon).toBeGreaterThanOrEqual(100)
      const newest = () => rows.first().getAttribute('data-id')
      const before = await newest()
      await ask('/v1/chat/completions', script)
      await expect.poll(newest, soon).not.toBe(before)
      // Further down nothing moves, and older ones follow.
      await rows.nth(90).scrollIntoViewIfNeeded()
      await expect.poll(() => rows.count(), soon).toBeGreaterThan(110)
      const top = await newest()
      await ask('/v1/chat/completions', script)
      const fresh = page.getByTestId('fresh')
      await expect.poll(() => fresh.textContent(), soon).toContain('1 new')
      expect(await newest()).toBe(top)
      await fresh.click()
      await expect.poll(newest, soon).not.toBe(top)
    }))

  it('find what is suspicious, and end it with a button that can be taken back', () =>
    home.visit({ viewport: phone }, async (page) => {
      await open(page, 'threats')
      const burst = page.locator('[data-testid=threat][data-kind=failures]')
      await burst.waitFor()
      expect(await burst.textContent()).toContain('21 refused requests within a minute')
      // Of the device in hand: it is not let lock itself out.
      expect(await burst.getByTestId('act').count()).toBe(0)
      const scan = page.locator('[data-testid=threat][data-kind=path_scan]')
      expect(await scan.textContent()).toContain('16 different paths')
      expect(await scan.textContent()).toContain('./sotto key disable "curious"')
      expect(await ask('/v1/chat/completions', curious)).toBe(200)
      await scan.getByTestId('act').click()
      await confirm(page)
      await scan.getByTestId('acted').waitFor()
      expect(await ask('/v1/chat/completions', curious)).toBe(401)
      await page.getByRole('button', { name: 'Undo' }).click()
      await scan.getByTestId('act').waitFor()
      expect(await ask('/v1/chat/completions', curious)).toBe(200)
      await scan.getByTestId('to-audit').click()
      await page.waitForURL('**/admin/audit?**')
      await expect.poll(() => page.getByTestId('audit-row').count(), soon).toBeGreaterThanOrEqual(16)
    }))

  it('hold a key to what it may, from the next request on, until that is taken back', () =>
    home.visit({ viewport: desktop }, async (page) => {
      await open(page, 'limits')
      await page.getByTestId('empty').waitFor()
      await page.getByTestId('add-limit').click()
      await page.getByRole('option', { name: 'script' }).click()
      const form = page.getByTestId('limit-form')
      await form.getByLabel('A day').fill('1.5')
      await page.getByRole('button', { name: 'Save' }).click()
      expect(await form.textContent()).toContain('A whole number from 0 up, or nothing.')
      await form.getByLabel('A day').fill('1.000')
      await page.getByRole('button', { name: 'Save' }).click()
      const card = page.locator('[data-testid=limit][data-party="key:script"]')
      await page.getByTestId('confirmation').or(card).waitFor()
      // Not asked again where it was answered a moment ago.
      if ((await card.count()) === 0) await confirm(page)
      const meter = card.getByTestId('meter-tokensPerDay')
      await expect.poll(() => meter.textContent(), soon).toContain('1K of 1K left')
      expect(await ask('/v1/chat/completions', script)).toBe(200)
      // What is left is live.
      await expect.poll(() => meter.textContent(), soon).not.toContain('1K of 1K left')

      await card.getByRole('button', { name: 'Edit the limit of script' }).click()
      await form.getByLabel('A day').fill('0')
      await page.getByRole('button', { name: 'Save' }).click()
      await expect.poll(() => meter.getAttribute('data-level'), soon).toBe('over')
      expect(await ask('/v1/chat/completions', script)).toBe(429)
      // The toast of the change before may still be there, with a button of its own.
      await page.getByRole('button', { name: 'Undo' }).last().click()
      await expect.poll(() => meter.getAttribute('data-level'), soon).toBe('fine')
      expect(await ask('/v1/chat/completions', script)).toBe(200)
      await card.getByRole('button', { name: 'More for script' }).click()
      await page.getByRole('menuitem', { name: 'Take all limits away' }).click()
      await page.getByTestId('empty').waitFor()
      expect(await ask('/v1/chat/completions', script)).toBe(200)
    }))

  it.each([
    ['phone', phone, 'light'],
    ['phone', phone, 'dark'],
    ['desktop', desktop, 'light'],
    ['desktop', desktop, 'dark'],
  ] as const)(
    'are for everybody’s eyes and hands, and ask nobody else: %s, %s %s',
    (name, viewport, colorScheme) =>
      home.visit({ viewport, colorScheme, reducedMotion: 'reduce' }, async (page, requests) => {
        await admin('limit', 'tenant:home', '--tokens-per-month', '500', '--concurrent', '8')
        await admin('limit', 'key:script', '--requests-per-minute', '30', '--models', 'stand-in*')
        await admin('limit', 'key:curious', '--tokens-per-day', '0')
        await ask('/v1/chat/completions', script)
        for (const one of pages) {
          await open(page, one)
          await expect.poll(() => page.locator('[aria-busy=true]').count(), soon).toBe(0)
          expect(await violations(page)).toEqual([])
          const wide = await page.evaluate('document.documentElement.scrollWidth > innerWidth')
          expect(wide, `${one} scrolls sideways`).toBe(false)
          await page.screenshot({
            path: join(output, `admin-${one || 'overview'}-${name}-${colorScheme}.png`),
          })
        }
        expect(requests.filter((url) => url.origin !== origin && url.protocol !== 'blob:')).toEqual([])
      }),
  )

  it('tell in words of the page, in either language, what was wrong with the machine, and is over', () =>
    home.visit({ viewport: desktop }, async (page) => {
      const speak = (language: string) =>
        page.context().addCookies([{ name: 'sotto-language', value: language, url: origin }])
      const trouble = page.locator('[data-testid=attention][data-id="trouble interface"]')
      const { interface: overlay } = await admin('status')
      await home.hub.run('ip', 'link', 'set', overlay.name, 'down')
      await open(page, '')
      await trouble.getByText(/changed the overlay’s interface .*\. It is right again\.$/).waitFor()
      await speak('de')
      await open(page, '')
      await trouble
        .getByText(/hat .* die Schnittstelle des Overlays verändert\. Sie stimmt wieder\.$/)
        .waitFor()
      await speak('en')
    }))

  it('tell when an engine goes down, what to do, and when it is back', () =>
    home.visit({ viewport: desktop }, async (page) => {
      await open(page, 'services')
      const backend = page.getByTestId('backend')
      const up = () => backend.getAttribute('data-up')
      await expect.poll(up, soon).toBe('true')
      expect(await backend.locator('[data-loaded=true]').textContent()).toContain('stand-in:latest')
      await home.ollama.stop()
      await expect.poll(up, { timeout: 60_000 }).toBe('false')
      expect(await backend.textContent()).toContain('ollama serve')
      await open(page, '')
      await page.getByText(/^The backend .* does not answer\.$/).waitFor()
      await open(page, 'services')
      const again = await startStandIn(home.hub, 'ollama', Number(new URL(home.ollama.url).port))
      try {
        await expect.poll(up, { timeout: 60_000 }).toBe('true')
      } finally {
        await again.stop()
      }
    }))
})
