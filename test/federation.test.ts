/**
 * Two gateways of two people, each in a network of its own with a real one between them; and meshes beside them that
 * know nothing of Sotto.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { violations } from './lab/axe.ts'
import { openBrowser } from './lab/browser.ts'
import { joinOverlay, sotto, startGateway, temporaryDirectory, type RunningGateway } from './lab/gateway.ts'
import { output } from './lab/home.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'
import { startMesh, type Mesh } from './lab/mesh.ts'

const phone = { width: 390, height: 844 }
const desktop = { width: 1280, height: 800 }
const soon = { timeout: 30_000 }
const secret = 'sixteen letters!'

describe('gateways of friends', () => {
  let lab: Lab
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  /** Ada's, whose relay is open to all, and Bob's on another network. */
  let ada: RunningGateway
  let bob: RunningGateway
  let relay: string
  let origin: string
  const closers: (() => unknown)[] = []

  const run = async ({ state }: RunningGateway, ...args: string[]) => {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }
  const outsideCa = () => join(ada.state, 'certs', 'tunnel.crt')
  const overlayCa = () => join(ada.state, 'certs', 'root.crt')
  const curl = async (host: Host, ...args: string[]) =>
    (await host.run('curl', '-sS', '--max-time', '20', '-w', '\n%{http_code}', ...args)).stdout
  /** The status, and what was answered. */
  const register = async (body: object, ...more: string[]) => {
    const text = await curl(
      lab.neighbour,
      '--cacert',
      outsideCa(),
      '-d',
      JSON.stringify(body),
      ...more,
      `https://${lab.hub.address4}:8444/register`,
    )
    return { status: Number(text.slice(-3)), answer: JSON.parse(text.slice(0, text.lastIndexOf('\n'))) }
  }
  /** As the admin's device of each. */
  const relays = async () =>
    JSON.parse(
      (await curl(lab.device, '--cacert', overlayCa(), `${origin}/sotto/admin/relays`)).split('\n')[0] ?? '',
    )
  /** Joins as a person would who pastes the code. */
  const joinBy = (code: string, ...args: string[]) =>
    execa(
      'ip',
      [
        'netns',
        'exec',
        lab.neighbour.name,
        process.execPath,
        join(import.meta.dirname, '..', 'sotto.ts'),
        'federation',
        'join',
        ...args,
        '--state',
        bob.state,
      ],
      { input: `${code}\n`, reject: false },
    )
  /** A mesh that is let in and says who it is. */
  const mesh = async (meshId: string, more: object = {}): Promise<Mesh> => {
    const made = await startMesh(lab.neighbour, `${relay}/gateway`, outsideCa())
    closers.push(made.stop)
    made.send({ type: 'gateway_auth', meshId, secret, ...more })
    await made.next({ type: 'gateway_auth_ok', meshId })
    return made
  }
  const pathOf = (...words: readonly string[]) =>
    lab.neighbour.run('nft', ...words.flatMap((word) => word.split(' ')))

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    await mkdir(output, { recursive: true })
    const config = join(folder.path, 'config.yaml')
    await writeFile(
      config,
      `tunnel: { listen: "0.0.0.0:8444", names: ["${lab.hub.address4}"] }\nrelay: { outside: true }\n`,
    )
    const nobody = ['--ollama', 'http://127.0.0.1:9']
    ada = await startGateway(
      lab.hub,
      join(folder.path, 'ada'),
      '--endpoint',
      lab.hub.address4,
      '--config',
      config,
      ...nobody,
    )
    closers.push(() => ada.stop())
    await joinOverlay(lab.device, folder.path, ada.firstDevice?.config ?? '')
    bob = await startGateway(lab.neighbour, join(folder.path, 'bob'), '--loopback', ...nobody)
    closers.push(() => bob.stop())
    relay = `wss://${lab.hub.address4}:8444`
    ;[origin = ''] = ada.origins
    const chain = '{ type filter hook output priority 0; }'
    await lab.neighbour.run('sh', '-c', `nft add table ip path; nft 'add chain ip path c ${chain}'`)
    const { secret: key } = await run(ada, 'key', 'add', 'meshes', '--services', 'relay')
    for (const meshId of ['kitchen', 'garden', 'attic']) {
      const { status, answer } = await register(
        { meshId, secret, name: meshId },
        '-H',
        `Authorization: Bearer ${key}`,
      )
      expect({ status, answer }).toEqual({ status: 200, answer: { ok: true } })
    }
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  describe('a mesh that knows nothing of Sotto', () => {
    it('comes not without being let in, and takes nobody’s place', async () => {
      expect(await register({ meshId: 'eve', secret, name: 'eve' })).toMatchObject({ status: 403 })
      const made = await run(ada, 'federation', 'invite', 'eve')
      const [, token = ''] = /^sotto-friend-(.*)$/.exec(made.code) ?? []
      const invitation = Buffer.from(token, 'base64url').subarray(0, 32).toString('base64url')
      const taken = { meshId: 'kitchen', secret: 'another secret..', name: 'eve', invitation }
      expect(await register(taken)).toMatchObject({ status: 409 })
      expect(await register({ ...taken, meshId: 'eve' })).toEqual({ status: 200, answer: { ok: true } })
      expect(await register({ ...taken, meshId: 'eve2' })).toMatchObject({ status: 403 })
      await run(ada, 'federation', 'remove', 'eve')
    })

    it('finds others, relays and broadcasts by the protocol’s own frames', async () => {
      const [kitchen, garden] = [await mesh('kitchen'), await mesh('garden', { publicRooms: ['roses'] })]
      kitchen.send({ type: 'gateway_discover' })
      const { instances } = await kitchen.next({ type: 'gateway_discover_result' })
      expect(instances).toContainEqual({ meshId: 'garden', name: 'garden', publicRooms: ['roses'] })
      garden.send({ type: 'gateway_update_rooms', publicRooms: ['tulips'] })
      await expect
        .poll(async () => {
          kitchen.send({ type: 'gateway_discover' })
          return JSON.stringify(await kitchen.next({ type: 'gateway_discover_result' }))
        }, soon)
        .toContain('tulips')
      const payload = { type: 'new_message', secret: 1, message: { id: '1', content: 'hi', admin: true } }
      const incoming = {
        type: 'gateway_incoming',
        fromMeshId: 'kitchen',
        fromMeshName: 'kitchen',
        payload: { type: 'new_message', message: { id: '1', content: 'hi', trustLevel: 'federated' } },
      }
      kitchen.send({ type: 'gateway_relay', targetMeshId: 'garden', payload })
      expect(await garden.next({ type: 'gateway_incoming' })).toEqual(incoming)
      kitchen.send({ type: 'gateway_broadcast', payload })
      expect(await garden.next({ type: 'gateway_incoming' })).toEqual(incoming)
      const participants = [{ id: '1', name: 'Anna', type: 'human' }]
      kitchen.send({ type: 'gateway_update_participants', participants })
      expect(await garden.next({ type: 'gateway_participants' })).toEqual({
        type: 'gateway_participants',
        remoteParticipants: [{ meshId: 'kitchen', meshName: 'kitchen', participants }],
      })
      const health = await curl(
        lab.neighbour,
        '--cacert',
        outsideCa(),
        `https://${lab.hub.address4}:8444/health`,
      )
      expect(JSON.parse(health.split('\n')[0] ?? '')).toEqual({ ok: true, connected: 2 })
    })

    it('is told what it may not, word for word', async () => {
      const attic = await mesh('attic')
      attic.send({ type: 'gateway_relay', targetMeshId: 'cellar', payload: {} })
      await attic.next({ type: 'error', targetMeshId: 'cellar' })
      attic.send({ type: 'gateway_broadcast', payload: { message: { content: 'x'.repeat(10_240) } } })
      await attic.next({ type: 'error', message: 'Payload too large (max 10240 bytes)' })
      for (let count = 0; count < 60; count += 1) attic.send({ type: 'gateway_broadcast', payload: {} })
      await attic.next({ type: 'error', message: 'Rate limited (max 60 messages/minute)' })
    })

    it('is sent away with a wrong secret, and where it does not say in time who it is', async () => {
      const wrong = await startMesh(lab.neighbour, `${relay}/gateway`, outsideCa())
      wrong.send({ type: 'gateway_auth', meshId: 'attic', secret: 'wrong' })
      await wrong.next({ type: 'gateway_auth_error', message: 'Invalid credentials' })
      await wrong.next({ closed: 1005 })
      const silent = await startMesh(lab.neighbour, `${relay}/gateway`, outsideCa())
      await silent.next({ type: 'gateway_auth_error', message: 'Auth timeout' })
      await silent.next({ closed: 1005 })
      // Who came and who did not is in the audit.
      const { requests } = await run(ada, 'audit')
      expect(requests).toContainEqual(
        expect.objectContaining({ path: '/gateway', status: 401, address: lab.neighbour.address4 }),
      )
      expect(requests).toContainEqual(
        expect.objectContaining({ path: '/gateway', status: 101, backend: 'attic' }),
      )
    })

    it('meets it on the overlay, too', async () => {
      const overlay = await startMesh(lab.device, `${origin.replace('https', 'wss')}/gateway`, overlayCa())
      overlay.send({ type: 'gateway_auth', meshId: 'garden', secret })
      await overlay.next({ type: 'gateway_auth_ok', meshId: 'garden' })
      const health = await curl(lab.device, '--cacert', overlayCa(), `${origin}/health`)
      expect(JSON.parse(health.split('\n')[0] ?? '')).toMatchObject({
        ok: true,
        connected: expect.any(Number),
      })
      await overlay.stop()
    })
  })

  const visit = async (
    options: BrowserContextOptions,
    task: (page: Page) => Promise<void>,
  ): Promise<void> => {
    const browser = await openBrowser(lab.device, { ca: overlayCa(), directory: folder.path, ...options })
    try {
      const page = browser.pages()[0] ?? (await browser.newPage())
      await page.goto(`${origin}/admin/relays`)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await task(page)
    } finally {
      await browser.close()
    }
  }
  async function confirm(page: Page, gateway = ada): Promise<void> {
    const dialog = page.getByTestId('confirmation')
    await dialog.waitFor()
    const { code } = await run(gateway, 'admin', 'code')
    await page.getByLabel('Code', { exact: true }).fill(code)
    await page.getByRole('button', { name: 'Confirm' }).click()
    await expect.poll(() => dialog.count(), soon).toBe(0)
  }

  it('are invited on the admin’s page by a code that is seen once, and join with it', () =>
    visit(
      { viewport: desktop, reducedMotion: 'reduce', permissions: ['clipboard-read', 'clipboard-write'] },
      async (page) => {
        await page.getByRole('button', { name: 'Invite', exact: true }).click()
        await page.getByLabel('What you call your friend').fill('bob')
        await page.getByRole('button', { name: 'Make code' }).click()
        await confirm(page)
        const shown = page.getByTestId('invitation')
        await shown.waitFor()
        // The button that has come under it is not to be seen as one that is pointed at.
        await page.mouse.move(0, 0)
        expect(await violations(page)).toEqual([])
        await page.screenshot({ path: join(output, 'relays-invitation-desktop.png') })
        expect(await shown.textContent()).toContain(`./sotto federation join ${relay}`)
        await shown.getByRole('button', { name: 'Copy' }).first().click()
        const code = await page.evaluate<string>('navigator.clipboard.readText()')
        expect(code).toMatch(/^sotto-friend-/)
        await page.getByRole('button', { name: 'I have it' }).click()
        await page.locator('[data-testid=relay-invitation][data-name=bob]').waitFor()

        // A part of it is none, and another gateway is not trusted for it.
        expect((await joinBy(code.slice(0, -1), relay, '--name', 'ada')).stderr).toContain(
          'a part of one is missing',
        )
        const elsewhere = `wss://${lab.hub.address4}:8443`
        expect((await joinBy(code, elsewhere, '--name', 'ada')).exitCode).toBe(1)
        const joined = await joinBy(code, relay, '--name', 'ada')
        expect(joined).toMatchObject({ exitCode: 0, stdout: `“ada” is your friend now: ${relay}/gateway` })
        expect((await joinBy(code, relay, '--name', 'other')).stderr).toContain('has been used')

        const row = page.locator('[data-testid=relay-row][data-name=bob]')
        await expect.poll(() => row.getAttribute('data-state'), soon).toBe('connected')
        expect(await row.textContent()).toContain(lab.neighbour.address4)
        const { friends } = await run(bob, 'federation', 'list')
        expect(friends).toMatchObject([{ name: 'ada', direction: 'joined', url: `${relay}/gateway` }])
      },
    ))

  it('notice a path that is half-open, on both sides, and find each other again', async () => {
    const stateOfBob = async () =>
      (await relays()).meshes.find(({ name }: { name: string }) => name === 'bob')?.connected
    await pathOf('add rule ip path c tcp dport 8444 drop')
    await expect.poll(stateOfBob, { timeout: 60_000 }).toBe(false)
    await pathOf('flush chain ip path c')
    await expect.poll(stateOfBob, { timeout: 90_000 }).toBe(true)
  })

  it('find each other again after kill -9', async () => {
    const stateOfBob = async () =>
      (await relays()).meshes.find(({ name }: { name: string }) => name === 'bob')?.connected
    bob.process.kill('SIGKILL')
    await bob.process
    await expect.poll(stateOfBob, soon).toBe(false)
    bob = await startGateway(lab.neighbour, bob.state, '--loopback', '--ollama', 'http://127.0.0.1:9')
    await expect.poll(stateOfBob, soon).toBe(true)
  })

  it.each([
    ['phone', phone, 'light'],
    ['phone', phone, 'dark'],
    ['desktop', desktop, 'light'],
    ['desktop', desktop, 'dark'],
  ] as const)('are for everybody’s eyes and hands: %s, %s %s', (name, viewport, colorScheme) =>
    visit({ viewport, colorScheme, reducedMotion: 'reduce' }, async (page) => {
      await page.getByTestId('relay-row').first().waitFor()
      await run(ada, 'federation', 'invite', 'eve')
      await page.locator('[data-testid=relay-invitation][data-name=eve]').waitFor()
      expect(await violations(page)).toEqual([])
      expect(await page.evaluate('document.documentElement.scrollWidth > innerWidth')).toBe(false)
      await page.screenshot({ path: join(output, `relays-${name}-${colorScheme}.png`), fullPage: true })
    }),
  )

  it('are removed on the page, after it said what that does, and end at once', () =>
    visit({ viewport: phone }, async (page) => {
      const row = page.locator('[data-testid=relay-row][data-name=bob]')
      await page.getByRole('button', { name: 'Remove bob' }).click()
      expect(await page.getByTestId('consequences').textContent()).toContain('invited anew')
      await page.getByTestId('sure').click()
      const asked = page.getByTestId('confirmation')
      await asked.or(page.getByText('bob is removed')).first().waitFor()
      if ((await asked.count()) > 0) await confirm(page)
      await expect.poll(() => row.count(), soon).toBe(0)
      await expect
        .poll(async () => readFile(join(ada.state, 'gateway.log'), 'utf8'), soon)
        .toContain('a mesh is gone')
      const { meshes } = await run(ada, 'federation', 'list')
      expect(meshes.map(({ name }: { name: string }) => name)).not.toContain('bob')
    }))

  it('show the one that was removed that it is refused, until it leaves', async () => {
    const directory = join(folder.path, 'bob-browser')
    await mkdir(directory)
    const browser = await openBrowser(lab.neighbour, {
      ca: join(bob.state, 'certs', 'root.crt'),
      directory,
      viewport: phone,
      reducedMotion: 'reduce',
    })
    try {
      const page = browser.pages()[0] ?? (await browser.newPage())
      await page.goto(`${bob.origins[0]}/admin/relays`)
      const row = page.locator('[data-testid=relay-row][data-name=ada]')
      await expect.poll(() => row.getAttribute('data-state'), soon).toBe('refused')
      expect(await violations(page)).toEqual([])
      await page.screenshot({ path: join(output, 'relays-refused-phone.png') })
      await page.getByRole('button', { name: 'Leave ada' }).click()
      await page.getByTestId('sure').click()
      await confirm(page, bob)
      await page.getByTestId('empty').waitFor()
      expect(await violations(page)).toEqual([])
      expect((await run(bob, 'federation', 'list')).friends).toEqual([])
    } finally {
      await browser.close()
    }
  })
})
