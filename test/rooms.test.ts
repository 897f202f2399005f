/** Rooms as people see them: on a phone and a desktop, of one gateway and of two, with the assistant among them. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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

const phone = { viewport: { width: 390, height: 844 }, hasTouch: true } as const
const desktop = { viewport: { width: 1280, height: 800 } } as const
/** Others' browsers and builds may share the machine. */
const soon = { timeout: 20_000 }

describe('a room', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: string
  let bobs: Host
  /** Carol’s gateway, on a machine of its own, and her device. */
  let friend: RunningGateway
  let carols: Host
  const closers: (() => Promise<unknown>)[] = []

  const run = async (state: string, ...args: string[]) => {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    const made = await temporaryDirectory()
    closers.push(made.remove)
    folder = made.path
    await mkdir(output, { recursive: true })
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(ollama.stop)
    const listening = join(folder, 'config.yaml')
    await writeFile(
      listening,
      `tunnel: { listen: "0.0.0.0:8444", names: ["${lab.hub.address4}"] }\nrelay: { outside: true }\n`,
    )
    gateway = await startGateway(
      lab.hub,
      join(folder, 'state'),
      '--config',
      listening,
      '--endpoint',
      lab.hub.address4,
      '--ollama',
      ollama.url,
    )
    closers.push(() => gateway.stop())
    await joinOverlay(lab.device, folder, gateway.firstDevice?.config ?? '', 'ada')
    await run(gateway.state, 'person', 'rename', 'root', 'ada')
    bobs = await lab.addHost('bob')
    const { config } = await run(gateway.state, 'device', 'add', 'bobs', '--person', 'bob')
    await joinOverlay(bobs, folder, config, 'bob')
  })
  /** Carol’s gateway joins Ada’s. */
  const befriend = async (): Promise<void> => {
    const own = await temporaryDirectory()
    closers.push(own.remove)
    const engine = await startStandIn(lab.neighbour, 'ollama')
    closers.push(engine.stop)
    friend = await startGateway(
      lab.neighbour,
      join(own.path, 'state'),
      '--endpoint',
      lab.neighbour.address4,
      '--ollama',
      engine.url,
    )
    closers.push(() => friend.stop())
    await run(friend.state, 'person', 'rename', 'root', 'carol')
    carols = await lab.addHost('carol')
    await joinOverlay(carols, own.path, friend.firstDevice?.config ?? '', 'carol')
    const invitation = await run(gateway.state, 'federation', 'invite', 'carols')
    const joined = lab.neighbour.start(
      process.execPath,
      [
        'sotto.ts',
        'federation',
        'join',
        invitation.addresses[0],
        '--name',
        'adas',
        '--state',
        friend.state,
        '--json',
      ],
      { input: `${invitation.code}\n` },
    )
    expect(await joined).toMatchObject({ exitCode: 0, stderr: '' })
    // What a path that is cut does: nothing comes, and nobody says so.
    const chain = '{ type filter hook output priority 0; }'
    await lab.neighbour.run('sh', '-c', `nft add table ip path; nft 'add chain ip path c ${chain}'`)
  }
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  /** Opens a page of a gateway in a browser on a host, until the test is over. */
  const browse = async (
    host: Host,
    at: RunningGateway,
    options: BrowserContextOptions,
  ): Promise<{ readonly page: Page; readonly browser: BrowserContext }> => {
    const browser = await openBrowser(host, {
      ca: join(at.state, 'certs', 'root.crt'),
      microphone: '/dev/null',
      directory: join(folder, `browser-${host.name}`),
      locale: 'en-US',
      ...options,
    })
    const page = browser.pages()[0] ?? (await browser.newPage())
    page.setDefaultTimeout(soon.timeout)
    const [origin = ''] = at.origins
    await expect
      .poll(
        () =>
          page.goto(`${origin}/rooms`).then(
            () => true,
            // The host's addresses are new: Chromium gives a request up for it.
            () => false,
          ),
        soon,
      )
      .toBe(true)
    return { page, browser }
  }
  const show = async (page: Page, name: string): Promise<void> => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      expect(await violations(page), `${name} ${colorScheme}`).toEqual([])
      await page.screenshot({ path: join(output, `rooms-${name}-${colorScheme}.png`) })
    }
  }

  it('is made, shared, written in at once by two people, and the assistant answers in it', async () => {
    const ada = await browse(lab.device, gateway, desktop)
    const bob = await browse(bobs, gateway, phone)
    try {
      await ada.page.getByText('No rooms yet').waitFor()
      await show(ada.page, 'empty-desktop')
      await show(bob.page, 'empty-phone')
      await ada.page.getByTestId('new-room').click()
      await ada.page.getByLabel('Name').fill('Garden')
      await show(ada.page, 'new-desktop')
      await ada.page.getByRole('button', { name: 'Make room' }).click()
      await say(ada.page, 'What shall we *plant* this year?\n\n- beans\n- peas')
      await ada.page.getByTestId('room-details').click()
      await ada.page.getByTestId('add-person').click()
      await ada.page.getByRole('menuitem', { name: 'bob' }).click()
      await expect.poll(() => ada.page.getByTestId('member').count(), soon).toBe(2)
      await show(ada.page, 'details-desktop')
      await ada.page.keyboard.press('Escape')
      await ada.page.getByTestId('mute').waitFor({ state: 'detached' })

      // It appears by itself where he is, and tells what is new from then on.
      await bob.page.getByTestId('room').waitFor()
      await say(ada.page, 'The first frost is over')
      await expect.poll(() => bob.page.getByTestId('unread').textContent(), soon).toContain('1')
      await show(bob.page, 'list-phone')
      await bob.page.getByTestId('room').click()
      await expect.poll(() => said(bob.page), soon).toHaveLength(2)
      expect(await messages(bob.page).first().locator('li').count()).toBe(2)
      await say(bob.page, 'Then peas first')
      await expect.poll(() => said(ada.page), soon).toHaveLength(3)

      await bob.page.getByTestId('room-composer').pressSequentially('@so')
      await bob.page.getByRole('option', { name: /sotto/ }).waitFor()
      await show(bob.page, 'mention-phone')
      await bob.page.getByTestId('room-composer').press('Enter')
      await bob.page
        .getByTestId('room-composer')
        .pressSequentially('Say after me: Sow **peas** in March, beans in May.')
      await bob.page.getByTestId('room-send').click()
      const answer = messages(ada.page).nth(4)
      await answer.getByTestId('text').getByText('Sow peas in March').waitFor()
      expect(await answer.textContent()).toContain('You said')
      expect(await answer.textContent()).toContain('for bob')
      expect(await answer.locator('strong').textContent()).toBe('peas')
      await expect.poll(() => said(bob.page), soon).toEqual(await said(ada.page))
      await expect.poll(() => ada.page.getByTestId('unread').count(), soon).toBe(0)
      await show(ada.page, 'room-desktop')
      await show(bob.page, 'room-phone')

      // What is changed or deleted is so for both.
      const mine = messages(ada.page).nth(1)
      await mine.hover()
      await mine.getByTestId('edit').click()
      await ada.page.getByTestId('editor').fill('The last frost is over')
      await ada.page.getByTestId('editor').press('Enter')
      await messages(bob.page).getByText('The last frost is over').waitFor()
      await mine.hover()
      await mine.getByTestId('delete').click()
      await ada.page.getByTestId('sure').click()
      await messages(bob.page).getByText('This message was deleted').waitFor()

      // A page that was away reads what it missed, each once.
      await bob.page.evaluate('navigator.serviceWorker.ready')
      await expect.poll(() => bob.page.evaluate(keptRooms), soon).toBe(2)
      await bob.browser.setOffline(true)
      for (const text of ['one', 'two', 'three']) await say(ada.page, text)
      await bob.page.reload()
      await bob.page.getByTestId('offline').waitFor()
      await messages(bob.page).getByText('Then peas first').waitFor()
      expect(await bob.page.getByRole('heading', { name: 'Garden' }).count()).toBe(1)
      await show(bob.page, 'offline-phone')
      await bob.browser.setOffline(false)
      await expect.poll(() => said(bob.page), soon).toEqual(await said(ada.page))

      // He goes, and it is gone for him.
      await bob.page.getByTestId('room-details').click()
      await show(bob.page, 'details-phone')
      await bob.page.getByTestId('leave').click()
      await bob.page.getByTestId('sure').click()
      await bob.page.getByText('No rooms yet').waitFor()
    } finally {
      await ada.browser.close()
      await bob.browser.close()
    }
  })

  it(
    'is shared by two gateways’ people, and loses nothing while they are cut off',
    { timeout: 300_000 },
    async () => {
      await befriend()
      const ada = await browse(lab.device, gateway, desktop)
      const carol = await browse(carols, friend, phone)
      try {
        await ada.page.getByTestId('new-room').click()
        await ada.page.getByLabel('Name').fill('Market')
        await ada.page.getByRole('button', { name: 'Make room' }).click()
        await say(ada.page, 'Nobody else shall know this')
        await ada.page.getByTestId('room-details').click()
        await ada.page.getByTestId('invite-friend').click()
        await ada.page.getByRole('menuitem', { name: 'carols' }).click()
        await expect
          .poll(() => ada.page.getByTestId('gateway').textContent(), soon)
          .toContain('no answer yet')
        await show(ada.page, 'invited-desktop')
        await ada.page.keyboard.press('Escape')
        await ada.page.getByTestId('mute').waitFor({ state: 'detached' })

        await carol.page.getByTestId('invitation').getByRole('button').click()
        await carol.page.getByTestId('accept').waitFor()
        await show(carol.page, 'invitation-phone')
        await carol.page.getByTestId('accept').click()
        await carol.page.getByTestId('room').click()
        await carol.page.getByRole('heading', { name: 'Market@adas' }).waitFor()
        await say(carol.page, 'I have apples')
        await messages(ada.page).getByText('I have apples').waitFor()
        expect(await messages(ada.page).last().textContent()).toContain('@carols')
        // What was said before she came is not for her.
        expect(await said(carol.page)).toEqual(['I have apples'])

        await lab.neighbour.run('nft', 'add', 'rule', 'ip', 'path', 'c', 'tcp', 'dport', '8444', 'drop')
        for (const text of ['And pears', 'And quinces']) await say(carol.page, text)
        for (const text of ['How many?', 'Are you there?']) await say(ada.page, text)
        await expect.poll(() => carol.page.getByTestId('delivery').count(), soon).toBe(2)
        await carol.page.getByTestId('away').waitFor({ timeout: 90_000 })
        await ada.page.getByTestId('away').waitFor({ timeout: 90_000 })
        await show(carol.page, 'away-phone')
        await show(ada.page, 'away-desktop')
        await lab.neighbour.run('nft', 'flush', 'chain', 'ip', 'path', 'c')
        const healed = { timeout: 90_000 }
        await expect.poll(() => said(carol.page), healed).toHaveLength(5)
        await expect.poll(() => carol.page.getByTestId('delivery').count(), healed).toBe(0)
        const all = await said(carol.page)
        await expect.poll(() => said(ada.page), healed).toEqual(['Nobody else shall know this', ...all])
        expect(all.filter((text) => text.startsWith('And'))).toEqual(['And pears', 'And quinces'])

        await say(carol.page, '@sotto Say after me: Pears keep until March.')
        await messages(ada.page).getByText('You said').waitFor()
        expect(await messages(ada.page).last().textContent()).toContain('for carol@carols')
        await show(ada.page, 'friends-desktop')
        await show(carol.page, 'friends-phone')
      } finally {
        await ada.browser.close()
        await carol.browser.close()
      }
    },
  )
})

/** The list, and the room that is open. */
const keptRooms = `(async () => {
  const names = (await caches.keys()).filter((name) => name.startsWith('sotto-seen'))
  const kept = await Promise.all(names.map(async (name) => (await caches.open(name)).keys()))
  return kept.flat().filter(({ url }) => url.includes('/sotto/rooms')).length
})()`

function messages(page: Page): Locator {
  return page.getByTestId('room-message')
}

async function said(page: Page): Promise<string[]> {
  const texts = await messages(page).getByTestId('text').allTextContents()
  return texts.map((text) => text.trim())
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByTestId('room-composer').fill(text)
  await page.getByTestId('room-send').click()
}
