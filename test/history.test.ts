/** The shell of the web app: the list of conversations and what one does there, on two pages, on a phone, offline. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandIn } from './lab/gateway.ts'
import { createHome, output, type Engine, type Home } from './lab/home.ts'
import type { Host } from './lab/lab.ts'

const desktop = { viewport: { width: 1280, height: 800 } } as const
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true } as const

describe('the list of conversations', { timeout: 300_000 }, () => {
  let home: Home<Engine>

  beforeAll(async () => {
    home = await createHome((hub) => startStandIn(hub, 'ollama'))
  })
  afterAll(() => home.close())

  const entries = (page: Page) => page.getByTestId('history').first().getByTestId('conversation')
  const titles = async (page: Page): Promise<string[]> =>
    (await entries(page).getByRole('link').allTextContents()).map((title) => title.trim())
  const lists = (page: Page, ...expected: string[]) => eventually(() => titles(page)).toEqual(expected)
  const menuOf = async (page: Page, title: string, action: string) => {
    await page.getByRole('button', { name: `Actions for “${title}”` }).click()
    await page.getByRole('menuitem', { name: action, exact: true }).click()
  }
  const say = async (page: Page, text: string) => {
    const composer = page.getByRole('textbox', { name: 'Message' })
    await composer.fill(text)
    await composer.press('Enter')
    const answer = page.getByTestId('message-assistant').last()
    await eventually(() => answer.getAttribute('data-status')).toBe('completed')
  }
  const both = async (page: Page, name: string) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await page.screenshot({
        path: join(output, `history-${name}-${colorScheme}.png`),
        animations: 'disabled',
      })
      await accessible(page)
    }
  }

  it('grows with each that is begun, and opens each of them at its address', () =>
    home.visit(desktop, async (page, requests) => {
      await eventually(() => page.getByTestId('history').first().textContent()).toContain('kept here')
      await say(page, 'How do tomatoes grow on a balcony?')
      await lists(page, 'How do tomatoes grow on a balcony?')
      await eventually(() => new URL(page.url()).pathname).toMatch(/^\/c\/./)
      await page.keyboard.press('Control+Shift+O')
      await eventually(() => new URL(page.url()).pathname).toBe('/')
      await say(page, 'Which lighthouses of Brittany are kept by hand?')
      await lists(
        page,
        'Which lighthouses of Brittany are kept by hand?',
        'How do tomatoes grow on a balcony?',
      )
      await page.getByRole('link', { name: 'How do tomatoes grow on a balcony?' }).click()
      await eventually(() => page.getByTestId('message-user').allTextContents()).toEqual([
        expect.stringContaining('tomatoes'),
      ])
      const current = page.locator('[data-testid=history] [aria-current=page]').first()
      expect(await current.textContent()).toContain('tomatoes')
      expect(await page.getByRole('heading', { name: 'Today' }).count()).toBe(1)
      await both(page, 'desktop')
      for (const { origin } of requests.filter(({ protocol }) => protocol.startsWith('http')))
        expect(home.gateway.origins).toContain(origin)
    }))

  it('is searched in full, by keyboard alone, and shows text as text', () =>
    home.visit(desktop, async (page) => {
      await say(page, 'Is <b>bold</b> a tag of lanterns?')
      await page.keyboard.press('Control+k')
      const search = page.getByTestId('search')
      const found = search.getByRole('option')
      await eventually(() => found.first().textContent()).toContain('lanterns')
      await page.keyboard.type('lighthou')
      await eventually(() => search.locator('mark').allTextContents()).toContain('lighthouses')
      await both(page, 'search')
      await page.keyboard.press('Control+a')
      await page.keyboard.type('lantern')
      await eventually(() => search.locator('mark').allTextContents()).toContain('lanterns')
      expect(await search.locator('b').count()).toBe(0)
      await page.keyboard.press('Control+a')
      await page.keyboard.type('zeppelin')
      await eventually(() => search.textContent()).toContain('Nothing of “zeppelin” was said')
      await accessible(page)
      await page.keyboard.press('Control+a')
      await page.keyboard.type('tomato')
      await eventually(() => search.locator('mark').first().textContent()).toBe('tomatoes')
      await page.keyboard.press('Enter')
      await eventually(() => search.count()).toBe(0)
      await eventually(() => page.getByTestId('message-user').first().textContent()).toContain('tomatoes')
      await page.keyboard.press('Control+k')
      await search.waitFor()
      await page.keyboard.press('Escape')
      await eventually(() => search.count()).toBe(0)
    }))

  it('is named, pinned, exported, deleted and brought back, and each page of the person sees it', () =>
    home.visit(desktop, async (page) => {
      const other = await page.context().newPage()
      await other.goto(page.url())
      const [lanterns = '', ...rest] = await titles(page)
      await lists(other, lanterns, ...rest)
      const [lights, tomatoes] = [
        'Which lighthouses of Brittany are kept by hand?',
        'How do tomatoes grow on a balcony?',
      ]

      await menuOf(page, tomatoes, 'Rename')
      const name = page.getByRole('textbox', { name: 'Name of the chat' })
      await name.fill('Nobody keeps this')
      await name.press('Escape')
      await eventually(() => titles(page)).toContain(tomatoes)
      await menuOf(page, tomatoes, 'Rename')
      await name.fill('Balcony')
      await name.press('Enter')
      await eventually(() => page.evaluate('document.activeElement?.textContent?.trim()')).toBe('Balcony')
      for (const each of [page, other]) await lists(each, lanterns, lights, 'Balcony')

      await menuOf(page, 'Balcony', 'Pin')
      for (const each of [page, other]) await lists(each, 'Balcony', lanterns, lights)
      expect(await other.getByRole('heading', { name: 'Pinned' }).count()).toBe(1)
      await menuOf(other, 'Balcony', 'Unpin')
      for (const each of [page, other]) await lists(each, lanterns, lights, 'Balcony')

      for (const [format, expected] of [
        ['Markdown', /^# Balcony\n[\s\S]*How do tomatoes grow/],
        ['JSON', /"title": "Balcony"[\s\S]*How do tomatoes grow/],
      ] as const) {
        const download = page.waitForEvent('download')
        await menuOf(page, 'Balcony', `Export as ${format}`)
        const file = await download
        expect(file.suggestedFilename()).toMatch(/^Balcony \d{4}-\d\d-\d\d\.(md|json)$/)
        expect(await readFile(await file.path(), 'utf8')).toMatch(expected)
      }

      await page.getByRole('link', { name: 'Balcony' }).click()
      await menuOf(page, 'Balcony', 'Delete')
      for (const each of [page, other]) await lists(each, lanterns, lights)
      await eventually(() => new URL(page.url()).pathname).toBe('/')
      await page.screenshot({ path: join(output, 'history-deleted.png'), animations: 'disabled' })
      await page.getByRole('button', { name: 'Undo' }).click()
      for (const each of [page, other]) await lists(each, lanterns, lights, 'Balcony')
      await eventually(() => new URL(page.url()).pathname).toMatch(/^\/c\/./)
    }))

  it('is a slide-over on a phone, which a choice and Escape close', () =>
    home.visit(phone, async (page) => {
      const open = async () => {
        await page.getByRole('button', { name: 'Open sidebar' }).click()
        await page.getByRole('dialog').waitFor()
      }
      const list = page.getByRole('dialog').getByTestId('conversation')
      const closed = () => eventually(() => page.getByRole('dialog').count()).toBe(0)
      await open()
      await eventually(() => list.count()).toBe(3)
      await both(page, 'phone')
      await page.getByRole('dialog').getByRole('button', { name: 'Actions for “Balcony”' }).click()
      await page.getByRole('menuitem', { name: 'Rename' }).click()
      await page.getByRole('dialog').getByRole('textbox').press('Escape')
      await eventually(() => list.count()).toBe(3)
      await page.keyboard.press('Escape')
      await closed()
      await open()
      await list.filter({ hasText: 'Balcony' }).getByRole('link').click()
      await closed()
      await eventually(() => page.getByTestId('message-user').first().textContent()).toContain('tomatoes')
      await open()
      await page.getByRole('dialog').getByTestId('open-search').click()
      await page.getByTestId('search').waitFor()
      await both(page, 'phone-search')
    }))

  it('is grouped by day and month, and goes on as far as one scrolls', () =>
    home.visit(desktop, async (page) => {
      const [all, atOnce, day] = [150, 50, 86_400_000]
      const conversation = (at: number) => {
        const then = new Date(Date.now() - at * day).toISOString()
        return {
          id: `c${at}`,
          title: `Talk ${at}`,
          pinned: at === 0,
          model: null,
          createdAt: then,
          updatedAt: then,
        }
      }
      await page.route(
        ({ pathname }) => pathname === '/sotto/conversations',
        (route) => {
          const from = Number(new URL(route.request().url()).searchParams.get('before'))
          const end = Math.min(from + atOnce, all)
          const conversations = Array.from({ length: end - from }, (_, at) => conversation(from + at))
          return route.fulfill({ json: { conversations, next: end < all ? String(end) : null } })
        },
      )
      await page.reload()
      await eventually(() => entries(page).count()).toBe(atOnce)
      const groups = page.getByTestId('history').getByRole('heading')
      expect((await groups.allTextContents()).slice(0, 4)).toEqual([
        'Pinned',
        'Yesterday',
        'Last 7 days',
        'Last 30 days',
      ])
      for (const count of [2 * atOnce, all]) {
        await entries(page).last().scrollIntoViewIfNeeded()
        await eventually(() => entries(page).count()).toBe(count)
      }
      expect(await page.getByRole('button', { name: 'Show more' }).count()).toBe(0)
      const longAgo = new Date(Date.now() - (all - 1) * day).toLocaleDateString('en', { month: 'long' })
      expect(await groups.last().textContent()).toContain(longAgo)
      await both(page, 'long')
    }))

  it('is read and used in another language, and by keyboard from the first key on', () =>
    home.visit(desktop, async (page) => {
      await page.getByTestId('language').click()
      await page.getByRole('menuitemcheckbox', { name: 'Deutsch' }).click()
      await eventually(() => page.getByTestId('new-chat').textContent()).toContain('Neuer Chat')
      expect(await page.locator('html').getAttribute('lang')).toBe('de')
      await page.getByTestId('color-scheme').click()
      await page.getByRole('menuitemcheckbox', { name: 'Dunkel' }).click()
      await eventually(() => page.locator('html').getAttribute('class')).toContain('dark')
      await page.screenshot({ path: join(output, 'history-german.png') })
      await page.reload()
      await eventually(() => page.getByTestId('new-chat').textContent()).toContain('Neuer Chat')
      await page.keyboard.press('Tab')
      expect(await page.evaluate('document.activeElement?.textContent?.trim()')).toBe('Zum Inhalt springen')
      await page.keyboard.press('Enter')
      expect(await page.evaluate('document.activeElement?.id')).toBe('main')
      await page.getByTestId('language').click()
      await page.getByRole('menuitemcheckbox', { name: 'English' }).click()
      await eventually(() => page.getByTestId('new-chat').textContent()).toContain('New chat')
      await page.getByTestId('color-scheme').click()
      await page.getByRole('menuitemcheckbox', { name: 'As the system' }).click()
      await page.getByRole('button', { name: 'Collapse sidebar' }).first().click()
      await eventually(() => page.getByTestId('history').count()).toBe(0)
      await both(page, 'collapsed')
      await page.getByRole('button', { name: 'Expand sidebar' }).first().click()
    }))

  it('says of an address that it is none, and leads back', () =>
    home.visit(phone, async (page) => {
      const answer = await page.goto(`${new URL(page.url()).origin}/nowhere/at/all`)
      expect(answer?.status()).toBe(404)
      await page.getByTestId('error-missing').waitFor()
      await both(page, 'missing')
      await page.getByRole('button', { name: 'Back to Sotto' }).click()
      await page.getByRole('textbox', { name: 'Message' }).waitFor()
      expect(new URL(page.url()).pathname).toBe('/')
    }))

  it('is of an app that can be installed', () =>
    home.visit(desktop, async (page) => {
      const devtools = await page.context().newCDPSession(page)
      const { errors, data = '' } = await devtools.send('Page.getAppManifest')
      expect(errors).toEqual([])
      const { icons, ...manifest } = JSON.parse(data)
      expect(manifest).toMatchObject({ name: 'Sotto', display: 'standalone', start_url: '/' })
      for (const { src, sizes } of icons) {
        const drawn = `fetch('${src}').then((answer) => answer.blob()).then((picture) =>
          createImageBitmap(picture).then(({ width, height }) => [picture.type, width + 'x' + height]))`
        expect(await page.evaluate(drawn)).toEqual(['image/png', sizes])
      }
      expect(
        await page.evaluate('navigator.serviceWorker.ready.then(({ active }) => active.scriptURL)'),
      ).toBe(`${new URL(page.url()).origin}/sw.js`)
      expect((await devtools.send('Page.getInstallabilityErrors')).installabilityErrors).toEqual([])
    }))

  it('opens without the gateway, as it was seen last, says so, and goes on when that is back', () =>
    home.visit(desktop, async (page) => {
      await page.evaluate('navigator.serviceWorker.ready')
      await page.getByRole('link', { name: 'Balcony' }).click()
      await eventually(() => page.getByTestId('message-assistant').count()).toBe(1)
      const kept = `caches.keys().then((names) => Promise.all(names.map((name) => caches.open(name)
        .then((cache) => cache.match(location.pathname.replace('/c/', '/sotto/conversations/'))))))
        .then((found) => found.some(Boolean))`
      await eventually(() => page.evaluate(kept)).toBe(true)

      await cut(home.device)
      await page.reload()
      await page.getByTestId('offline').waitFor()
      expect(await page.getByTestId('offline').textContent()).toContain('this is what was seen last')
      await lists(
        page,
        'Is <b>bold</b> a tag of lanterns?',
        'Which lighthouses of Brittany are kept by hand?',
        'Balcony',
      )
      await eventually(() => page.getByTestId('message-user').first().textContent()).toContain('tomatoes')
      expect(await page.getByTestId('unable').textContent()).toContain('as soon as the gateway answers')
      expect(await page.getByRole('textbox', { name: 'Message' }).isDisabled()).toBe(true)
      await both(page, 'offline')
      await page.setViewportSize(phone.viewport)
      await both(page, 'offline-phone')
      await page.setViewportSize(desktop.viewport)
      // One that was never opened here is not here.
      await page.getByRole('link', { name: 'Which lighthouses' }).click()
      await eventually(() => page.locator('main').textContent()).toContain('not kept on this device')

      await mend(home.device)
      await eventually(() => page.getByTestId('offline').count()).toBe(0)
      await eventually(() => page.getByTestId('message-user').first().textContent()).toContain('lighthouses')
      expect(await page.getByRole('textbox', { name: 'Message' }).isDisabled()).toBe(false)

      // What is deleted is kept no longer.
      await page.getByRole('link', { name: 'Balcony' }).click()
      await eventually(() => page.evaluate(kept)).toBe(true)
      const path = new URL(page.url()).pathname.replace('/c/', '/sotto/conversations/')
      await menuOf(page, 'Balcony', 'Delete')
      await eventually(() =>
        page.evaluate(kept.replace("location.pathname.replace('/c/', '/sotto/conversations/')", `'${path}'`)),
      ).toBe(false)

      // Whoever used this browser before left nothing to be seen.
      await page.evaluate(`caches.open('sotto-seen somebody else')`)
      await page.reload()
      await eventually(() => page.evaluate('caches.keys()')).toSatisfy(
        (names) => Array.isArray(names) && !names.includes('sotto-seen somebody else'),
      )
    }))
})

/** A machine that is busy with other tests takes its time. */
function eventually<T>(read: () => T) {
  return expect.poll(read, { timeout: 20_000 })
}

async function accessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze()
  expect(violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)])).toEqual([])
}

/** Nothing of WireGuard gets in or out. */
async function cut(host: Host): Promise<void> {
  await host.run('nft', 'add', 'table', 'inet', 'cut')
  for (const hook of ['input', 'output']) {
    await host.run('nft', 'add', 'chain', 'inet', 'cut', hook, `{ type filter hook ${hook} priority -10; }`)
    await host.run('nft', 'add', 'rule', 'inet', 'cut', hook, 'meta', 'l4proto', 'udp', 'drop')
  }
}

async function mend(host: Host): Promise<void> {
  await host.run('nft', 'delete', 'table', 'inet', 'cut')
}
