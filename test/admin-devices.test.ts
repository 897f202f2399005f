/** The admin's pages of devices, people, keys and access rules, on the admin's own device; and what others see. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { BrowserContextOptions, Locator, Page } from 'playwright-core'
import { PNG } from 'pngjs'
import decodeQr from 'qr/decode.js'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { violations } from './lab/axe.ts'
import { openBrowser } from './lab/browser.ts'
import {
  joinOverlay,
  sotto,
  startGateway,
  startStandIn,
  temporaryDirectory,
  type RunningGateway,
} from './lab/gateway.ts'
import { output } from './lab/home.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'

const hub = '10.77.0.1'
const phone = { viewport: { width: 390, height: 844 }, colorScheme: 'dark', hasTouch: true } as const
const desktop = { viewport: { width: 1280, height: 800 }, colorScheme: 'light' } as const

/** Others' browsers and builds may share the machine. */
const soon = { timeout: 20_000 }

describe('the admin’s pages', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: string
  let origin: string
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    const made = await temporaryDirectory()
    closers.push(made.remove)
    folder = made.path
    await mkdir(output, { recursive: true })
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(ollama.stop)
    const options = ['--endpoint', lab.hub.address4, '--ollama', ollama.url]
    gateway = await startGateway(lab.hub, join(folder, 'state'), ...options)
    closers.push(() => gateway.stop())
    origin = gateway.origins[0] ?? ''
    await joinOverlay(lab.device, folder, gateway.firstDevice?.config ?? '', 'phone')
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  // Each begins unconfirmed.
  beforeEach(() => run('admin', 'forget'))

  const run = async (...args: string[]) => {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', gateway.state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }

  /** Opens a page of ours in a browser on a host. That it asked nobody else is seen at its end. */
  const browse = async (
    host: Host,
    path: string,
    task: (page: Page) => Promise<void>,
    options: BrowserContextOptions = desktop,
  ): Promise<void> => {
    const browser = await openBrowser(host, {
      ca: join(gateway.state, 'certs', 'root.crt'),
      microphone: '/dev/null',
      directory: join(folder, `browser-${host.name}`),
      locale: 'en-US',
      ...options,
    })
    try {
      const page = browser.pages()[0] ?? (await browser.newPage())
      page.setDefaultTimeout(soon.timeout)
      const elsewhere: string[] = []
      page.on('request', (request) => {
        if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(origin))
          elsewhere.push(request.url())
      })
      await page.goto(origin + path).catch((error: unknown) => {
        // The host's addresses are new: Chromium gives a request up for it.
        if (!String(error).includes('ERR_NETWORK_CHANGED')) throw error
        return page.goto(origin + path)
      })
      await task(page)
      expect(elsewhere).toEqual([])
    } finally {
      await browser.close()
    }
  }

  const show = async (page: Page, name: string): Promise<void> => {
    expect(await violations(page), name).toEqual([])
    await page.screenshot({ path: join(output, `admin-${name}.png`) })
  }
  const confirm = async (page: Page): Promise<void> => {
    const { code } = await run('admin', 'code')
    await page.getByLabel('Code', { exact: true }).fill(code)
    await page.getByRole('button', { name: 'Confirm' }).click()
    await page.getByTestId('confirmation').waitFor({ state: 'detached' })
  }
  const choose = async (page: Page, of: string, item: string): Promise<void> => {
    await page.getByRole('button', { name: `Change ${of}`, exact: true }).click()
    await page.getByRole('menuitem', { name: item }).click()
  }
  const undo = (page: Page): Promise<void> => page.getByRole('button', { name: 'Undo' }).last().click()
  const rowOf = (page: Page, name: string): Locator =>
    page.locator(`[data-testid=device-row][data-name="${name}"]`)
  const scan = async (page: Page): Promise<string> => {
    await page.getByTestId('qr').waitFor()
    return decodeQr(PNG.sync.read(await page.getByTestId('qr').screenshot()))
  }
  const stateOf = (row: Locator, state: string) =>
    expect.poll(() => row.getByTestId('device-state').getAttribute('data-state'), soon).toBe(state)
  const stage = (page: Page, expected: string) =>
    expect.poll(() => page.getByTestId('stage').getAttribute('data-stage'), soon).toBe(expected)
  const reaches = (host: Host, expected: boolean) =>
    expect
      .poll(async () => (await host.run('ping', '-c', '1', '-W', '1', hub)).exitCode === 0, soon)
      .toBe(expected)

  it('bring a device in by a code, and look after it', async () => {
    const first = gateway.firstDevice?.name ?? ''
    const host = await lab.addHost('tablet')
    await browse(lab.device, '/admin/devices', async (page) => {
      await expect.poll(() => rowOf(page, first).getByTestId('here').count(), soon).toBe(1)
      await page.getByRole('button', { name: 'Add device' }).click()
      await page.getByRole('textbox', { name: 'Name' }).fill('tablet')
      await show(page, 'device-wish-desktop-light')
      await page.getByRole('button', { name: 'Next' }).click()

      // Cancelled, a change is not made, and the form is there as it was.
      await page.getByTestId('confirmation').waitFor()
      await show(page, 'confirmation-desktop-light')
      await page.getByRole('button', { name: 'Cancel' }).last().click()
      await page.getByTestId('confirmation').waitFor({ state: 'detached' })
      expect((await run('device', 'list')).devices).toHaveLength(1)
      await page.getByRole('button', { name: 'Next' }).click()
      await page.getByLabel('Code', { exact: true }).fill('0000 0000')
      await page.getByRole('button', { name: 'Confirm' }).click()
      await expect.poll(() => page.getByTestId('confirmation').textContent(), soon).toContain('code')
      await confirm(page)

      await stage(page, 'waiting')
      const config = await scan(page)
      expect(config).toMatch(/^\[Interface\]\nPrivateKey = [\w+/]{43}=\n/)
      const download = page.waitForEvent('download')
      await page.getByTestId('download').click()
      expect((await download).suggestedFilename()).toBe('tablet.conf')
      await show(page, 'device-made-desktop-light')
      // What is shown once is not closed by mistake.
      await page.getByRole('button', { name: 'Close', exact: true }).last().click()
      await page.getByTestId('sure').waitFor()
      await page.getByRole('button', { name: 'Cancel' }).click()
      const name = await joinOverlay(host, folder, config, 'tablet')
      await reaches(host, true)
      await stage(page, 'connected')
      expect(await page.getByTestId('next').textContent()).toContain(origin)
      await show(page, 'device-connected-desktop-light')
      await page.getByRole('button', { name: 'Done' }).click()

      await choose(page, 'tablet', 'Rename')
      await page.getByRole('textbox', { name: 'Name' }).fill('kitchen')
      await page.getByRole('textbox', { name: 'Name' }).press('Enter')
      const kitchen = rowOf(page, 'kitchen')
      await stateOf(kitchen, 'online')

      await choose(page, 'kitchen', 'Disable')
      await stateOf(kitchen, 'disabled')
      await reaches(host, false)
      await undo(page)
      await stateOf(kitchen, 'online')
      await reaches(host, true)

      await choose(page, 'kitchen', 'Expiry…')
      await page.getByRole('combobox', { name: 'Expires' }).click()
      await page.getByRole('option', { name: 'After a week' }).click()
      await page.getByRole('button', { name: 'Save' }).click()
      await expect.poll(() => kitchen.textContent(), soon).toMatch(/expires in (6|7) days/)

      await choose(page, 'kitchen', 'New keys…')
      await page.getByTestId('sure').click()
      const renewed = await scan(page)
      expect(renewed).not.toBe(config)
      await stage(page, 'waiting')
      await host.run('ip', 'link', 'delete', name)
      await joinOverlay(host, folder, renewed, 'tablet')
      await reaches(host, true)
      await stage(page, 'connected')
      await page.getByRole('button', { name: 'Done' }).click()

      await page.getByRole('button', { name: 'kitchen', exact: true }).click()
      await page.getByTestId('device-detail').waitFor()
      await show(page, 'device-detail-desktop-light')
      await page.keyboard.press('Escape')

      await choose(page, 'kitchen', 'Remove…')
      expect(await page.getByTestId('consequences').textContent()).toContain('30 days')
      await page.getByTestId('sure').click()
      await expect.poll(() => kitchen.count(), soon).toBe(0)
      await reaches(host, false)

      // Nobody saws off the branch that they sit on.
      await page.getByRole('button', { name: `Change ${first}` }).click()
      const stays = page.getByRole('menuitem', { name: 'You are on it: it stays' })
      expect(await stays.getAttribute('aria-disabled')).toBe('true')
    })
  })

  it('pass a one-time link on to another browser, whose person then sees only what is theirs', async () => {
    const host = await lab.addHost('bob')
    await browse(
      lab.device,
      '/admin/devices',
      async (page) => {
        await page.getByTestId('device-row').first().waitFor()
        await page.getByRole('button', { name: 'Add device' }).click()
        await page.getByRole('textbox', { name: 'Name' }).fill('bob laptop')
        await page.getByLabel('Whose').fill('Bob')
        await page.keyboard.press('Escape')
        await page.getByRole('radio', { name: 'One-time link' }).click()
        await page.getByRole('button', { name: 'Next' }).click()
        await confirm(page)
        await stage(page, 'unused')
        const place = await scan(page)
        await show(page, 'device-link-phone-dark')
        const link = (await page.getByTestId('link').locator('code').textContent()) ?? ''
        expect(link).toContain(`${origin}/link#`)

        const guest = await joinOverlay(host, folder, place, 'bob')
        await reaches(host, true)
        let config = ''
        await browse(host, link.slice(origin.length), async (its) => {
          await its.getByTestId('enrol').click()
          config = await scan(its)
        })
        await stage(page, 'waiting')
        await host.run('ip', 'link', 'delete', guest)
        await joinOverlay(host, folder, config, 'bob')
        await reaches(host, true)
        await stage(page, 'connected')
        await page.getByRole('button', { name: 'Done' }).click()

        await run('device', 'add', 'unused', '--link')
        const waiting = page.getByTestId('link-row')
        await expect.poll(() => waiting.count(), soon).toBe(1)
        await page.getByRole('button', { name: 'Withdraw the link of unused' }).click()
        await page.getByTestId('sure').click()
        await expect.poll(() => waiting.count(), soon).toBe(0)
        await show(page, 'devices-phone-dark')
      },
      phone,
    )
    await browse(host, '/devices', async (page) => {
      await expect.poll(() => page.getByTestId('device-row').count(), soon).toBe(1)
      expect(await rowOf(page, 'bob laptop').getByTestId('here').count()).toBe(1)
      await show(page, 'devices-own-desktop-light')
      for (const path of ['devices', 'people', 'keys', 'rules']) {
        await page.goto(`${origin}/admin/${path}`)
        await page.getByTestId('refused').waitFor()
        expect(await page.getByTestId('refused').textContent()).toMatch(/admin/i)
        expect(await page.locator('[data-testid$=-row]').count()).toBe(0)
      }
      await show(page, 'refused-desktop-light')
    })
  })

  it('make a key, which programs use until it is rotated, disabled or removed', () =>
    browse(
      lab.device,
      '/admin/keys',
      async (page) => {
        const status = (secret: string) =>
          page.evaluate(
            `fetch('/v1/models', { headers: { Authorization: 'Bearer ${secret}' } }).then(({ status }) => status)`,
          )
        const secretOf = async (): Promise<string> => {
          const secret = await page.getByTestId('secret').locator('code').textContent()
          return secret ?? ''
        }
        const good = (secret: string, expected: number) =>
          expect.poll(() => status(secret), soon).toBe(expected)

        await page.getByText('No keys yet').waitFor()
        await show(page, 'keys-none-phone-dark')
        await page.getByRole('button', { name: 'Make key' }).first().click()
        await page.getByRole('textbox', { name: 'Name' }).fill('script')
        await page.getByRole('button', { name: 'Narrow what it opens' }).click()
        await page.getByRole('button', { name: 'Services' }).click()
        await page.getByRole('option', { name: 'chat' }).click()
        await page.keyboard.press('Escape')
        await show(page, 'key-wish-phone-dark')
        await page.getByRole('button', { name: 'Make key' }).last().click()
        await confirm(page)
        await page.getByTestId('secret').waitFor()
        const secret = await secretOf()
        expect(secret).toMatch(/^sk-sotto-/)
        for (const [tab, text] of [
          ['curl', 'curl --cacert'],
          ['Python', 'from openai import OpenAI'],
          ['JavaScript', 'import OpenAI from'],
          ['Ollama', 'from ollama import Client'],
        ] as const) {
          await page.getByRole('tab', { name: tab }).click()
          const snippet = await page.getByRole('tabpanel').textContent()
          for (const part of [text, origin, secret]) expect(snippet, tab).toContain(part)
        }
        await show(page, 'key-made-phone-dark')
        await page.getByRole('button', { name: 'I have it' }).click()
        await good(secret, 200)
        const row = page.locator('[data-testid=key-row][data-name=script]')
        expect(await row.textContent()).toContain(secret.slice(0, 12))
        expect(await row.textContent()).not.toContain(secret)

        await choose(page, 'script', 'Rotate…')
        await page.getByRole('radio', { name: 'At once' }).click()
        await page.getByRole('button', { name: 'Rotate key' }).click()
        await page.getByTestId('secret').waitFor()
        const next = await secretOf()
        await page.getByRole('button', { name: 'I have it' }).click()
        await good(next, 200)
        await good(secret, 401)

        await choose(page, 'script', 'Disable')
        await good(next, 401)
        await undo(page)
        await good(next, 200)
        await expect.poll(() => row.textContent(), soon).toMatch(/last used .*10\.77\.0\.2/)
        await show(page, 'keys-phone-dark')

        await choose(page, 'script', 'Remove…')
        await page.getByTestId('sure').click()
        await expect.poll(() => row.count(), soon).toBe(0)
        await good(next, 401)
      },
      phone,
    ))

  it('arrange people in tenants, and take each change back', () =>
    browse(lab.device, '/admin/people', async (page) => {
      const tenant = (name: string) => page.locator(`[data-testid=tenant][data-name="${name}"]`)
      const person = (name: string) => page.locator(`[data-testid=person][data-name="${name}"]`)
      const isIn = (who: string, where: string) =>
        expect.poll(() => tenant(where).locator(person(who)).count(), soon).toBe(1)
      const add = async (kind: 'person' | 'tenant', name: string) => {
        await page
          .getByRole('button', { name: `Add ${kind}` })
          .first()
          .click()
        await page.getByRole('textbox', { name: 'Name' }).fill(name)
        await page.getByRole('button', { name: 'Add', exact: true }).click()
      }
      await page.getByTestId('person').first().waitFor()
      await add('tenant', 'guests')
      await confirm(page)
      await tenant('guests').waitFor()
      await add('person', 'Cleo')
      await isIn('Cleo', 'home')

      await page.getByRole('button', { name: 'Change Cleo' }).click()
      await page.getByRole('menuitem', { name: 'Move to' }).hover()
      await page.getByRole('menuitem', { name: 'guests' }).click()
      await isIn('Cleo', 'guests')
      await undo(page)
      await isIn('Cleo', 'home')

      await choose(page, 'Cleo', 'Rename')
      await page.getByRole('textbox', { name: 'Name' }).fill('Cleopatra')
      await page.getByRole('textbox', { name: 'Name' }).press('Enter')
      await person('Cleopatra').waitFor()
      await show(page, 'people-desktop-light')
      await choose(page, 'Cleopatra', 'Remove')
      await expect.poll(() => person('Cleopatra').count(), soon).toBe(0)
      await undo(page)
      await isIn('Cleopatra', 'home')

      await choose(page, 'guests', 'Disable')
      await page.getByTestId('sure').click()
      await tenant('guests').getByTestId('tenant-disabled').waitFor()
      expect((await run('tenant', 'list')).tenants).toContainEqual(
        expect.objectContaining({ name: 'guests', disabledAt: expect.any(String) }),
      )
      await choose(page, 'guests', 'Enable')
      await tenant('guests').getByTestId('tenant-disabled').waitFor({ state: 'detached' })
      await choose(page, 'guests', 'Remove')
      await expect.poll(() => tenant('guests').count(), soon).toBe(0)
    }))

  it('say who may reach whom, and take that back', () =>
    browse(
      lab.device,
      '/admin/rules',
      async (page) => {
        const rules = async () =>
          (await run('network', 'rules')).rules.map(({ action, from, to }: Record<string, string>) =>
            [action, from, to].join(' '),
          )
        const pick = async (label: string, item: string) => {
          await page.getByLabel(label, { exact: true }).click()
          await page.getByRole('option', { name: item, exact: true }).click()
        }
        await run('device', 'add', 'garden', '--person', 'Dora')
        await page.reload()
        await page.getByTestId('rule-form').waitFor()
        await pick('From', 'Dora')
        await pick('To', gateway.firstDevice?.name ?? '')
        await page.getByRole('button', { name: 'Add rule' }).click()
        await confirm(page)
        const rule = page.getByTestId('rule')
        await expect.poll(() => rule.count(), soon).toBe(1)
        const made = [`allow person:Dora device:${gateway.firstDevice?.name}`]
        expect(await rules()).toEqual(made)
        await show(page, 'rules-phone-dark')
        await rule.getByRole('button').click()
        await expect.poll(rules, soon).toEqual([])
        await undo(page)
        await expect.poll(rules, soon).toEqual(made)

        // A rule that would shut out the one who makes it is asked about first.
        await pick('Rule', 'Deny')
        await pick('From', 'All devices')
        await pick('To', 'The gateway')
        await page.getByRole('button', { name: 'Add rule' }).click()
        await page.getByTestId('sure').waitFor()
        await page.getByRole('button', { name: 'Cancel' }).click()
        expect(await rules()).toEqual(made)
      },
      phone,
    ))
})
