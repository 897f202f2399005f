/**
 * People without a device: an invitation by mail and one by link, each through to a key that works; signing in by
 * password and by passkey; and the end of an account. Outside the overlay, and on it.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
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
import { startLender, type StartedLender } from './lab/lender.ts'

const phone = { width: 390, height: 844 }
const desktop = { width: 1280, height: 800 }
/** Eight browsers may share two cores. */
const soon = { timeout: 20_000 }
const password = 'four words are enough'

describe('accounts', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  let ollama = ''
  let letters: string
  /** Where people sign in who are on the overlay, and who are not. */
  let inside: string
  let outside: string
  const closers: (() => unknown)[] = []

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    await mkdir(output, { recursive: true })
    letters = join(folder.path, 'letters')
    await mkdir(letters)
    const smtp = await startStandIn(lab.hub, 'smtp', 0, letters)
    closers.push(smtp.stop)
    const config = join(folder.path, 'config.yaml')
    const names = JSON.stringify(['lend.example.org', lab.hub.address4])
    await writeFile(
      config,
      `tunnel: { listen: "0.0.0.0:8444", names: ${names}, accounts: true }
mail: { url: "${smtp.url.replace('http', 'smtp')}", from: "Sotto <sotto@example.org>" }
accounts: { signUp: true, domains: [example.org] }
`,
    )
    const state = join(folder.path, 'state')
    const onHub = await startStandIn(lab.hub, 'ollama')
    closers.push(onHub.stop)
    const options = ['--endpoint', lab.hub.address4, '--config', config, '--ollama', onHub.url]
    gateway = await startGateway(lab.hub, state, ...options)
    closers.push(() => gateway.stop())
    await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '')
    const onNeighbour = await startStandIn(lab.neighbour, 'ollama')
    closers.push(onNeighbour.stop)
    ollama = onNeighbour.url
    inside = (gateway.origins[0] ?? '').replace(/\/\/[^:]+/, '//sotto.internal')
    outside = 'https://lend.example.org:8444'
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  async function admin(...args: string[]) {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', gateway.state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }

  /** The link in the newest letter to somebody, when there are that many. */
  async function linkTo(recipient: string, count = 1): Promise<string> {
    const found = async (): Promise<string[]> => {
      const files = (await readdir(letters)).filter((name) => name.endsWith('.eml'))
      files.sort((one, other) => Number.parseInt(one, 10) - Number.parseInt(other, 10))
      const read = await Promise.all(files.map((name) => readFile(join(letters, name), 'utf8')))
      return read.filter((letter) => letter.includes(`To: ${recipient}`))
    }
    await expect.poll(async () => (await found()).length, soon).toBe(count)
    const whole = (await found()).at(-1)?.replaceAll('=\r\n', '').replaceAll('=3D', '=') ?? ''
    return /https:\/\/\S+#link=[\w-]+/.exec(whole)?.[0] ?? ''
  }

  let profiles = 0
  /** A browser of its own; on the overlay, or off it. */
  async function browse(
    where: 'inside' | 'outside',
    options: BrowserContextOptions,
    task: (page: Page, context: BrowserContext, requests: readonly URL[]) => Promise<void>,
  ): Promise<void> {
    profiles += 1
    const directory = join(folder.path, `browser-${profiles}`)
    await mkdir(directory)
    const [host, ca, to]: [Host, string, string] =
      where === 'inside'
        ? [lab.device, 'root.crt', new URL(gateway.origins[0] ?? '').hostname]
        : [lab.neighbour, 'tunnel.crt', lab.hub.address4]
    const context = await openBrowser(host, {
      ca: join(gateway.state, 'certs', ca),
      names: `MAP sotto.internal ${to}, MAP lend.example.org ${to}`,
      directory,
      reducedMotion: 'reduce',
      ...options,
    })
    try {
      const page = context.pages()[0] ?? (await context.newPage())
      const requests: URL[] = []
      page.on('request', (request) => requests.push(new URL(request.url())))
      await task(page, context, requests)
    } finally {
      await context.close()
    }
  }

  const open = async (page: Page, url: string): Promise<void> => {
    await page.goto(url).catch((error: unknown) => {
      // The device's addresses are new, and still being made sure of: Chromium gives a request up for it.
      if (!String(error).includes('ERR_NETWORK_CHANGED')) throw error
      return page.goto(url)
    })
    await page.getByRole('heading', { level: 1 }).waitFor()
  }

  /** As a finger on a sensor: there from now on, and always willing. */
  async function giveAuthenticator(page: Page, context: BrowserContext): Promise<void> {
    const session = await context.newCDPSession(page)
    await session.send('WebAuthn.enable')
    await session.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    })
  }

  async function makeKey(page: Page, name: string, purpose?: string): Promise<string> {
    await page.getByTestId('make-key').click()
    await page.getByLabel('Name', { exact: false }).fill(name)
    if (purpose !== undefined) await page.getByRole('radio', { name: purpose }).click()
    await page.getByRole('button', { name: 'Make key' }).last().click()
    const secret = (await page.getByTestId('secret').textContent())?.trim() ?? ''
    expect(secret).toMatch(/^sk-sotto-/)
    return secret
  }

  const curl = async (host: Host, ca: string, ...args: string[]): Promise<string> => {
    const file = join(gateway.state, 'certs', ca)
    return (await host.run('curl', '-sS', '--max-time', '20', '--cacert', file, ...args)).stdout
  }
  const chat = async (key: string, model = 'stand-in'): Promise<number> => {
    const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'one two three' }] })
    const asked = [
      '-d',
      body,
      '-H',
      `Authorization: Bearer ${key}`,
      `${gateway.origins[0]}/v1/chat/completions`,
    ]
    const said = await curl(lab.device, 'root.crt', '-o', '/dev/null', '-w', '%{http_code}', ...asked)
    return Number(said)
  }

  it('begin with an invitation by mail, and one lends a machine without ever being on the overlay', async () => {
    let lender: StartedLender | undefined
    await admin('person', 'add', 'Cleo')
    await browse('inside', { viewport: desktop }, async (page) => {
      await open(page, `${gateway.origins[0]}/admin/people`)
      await page.getByRole('button', { name: 'Change Cleo' }).click()
      await page.getByRole('menuitem', { name: 'Invite…' }).click()
      await page.getByRole('radio', { name: 'Send it by mail' }).click()
      await page.getByLabel('Mail address').fill('cleo@example.org')
      await page.getByRole('button', { name: 'Send' }).click()
      await page.getByTestId('confirmation').waitFor()
      const { code } = await admin('admin', 'code')
      await page.getByLabel('Code', { exact: true }).fill(code)
      await page.getByRole('button', { name: 'Confirm' }).click()
      await page.locator('[data-testid=mail][data-state=sent]').waitFor()
      expect(await violations(page)).toEqual([])
      await page.screenshot({ path: join(output, 'account-invited.png') })
    })
    const link = await linkTo('cleo@example.org')
    expect(link.startsWith(`${outside}/account#link=`)).toBe(true)

    await browse('outside', { viewport: desktop }, async (page) => {
      await open(page, link)
      await page.getByRole('heading', { name: 'Welcome, Cleo' }).waitFor()
      // What stood behind the # does not stay in the address.
      expect(page.url()).not.toContain('link=')
      await page.getByLabel('New password').fill(password)
      await page.getByRole('button', { name: 'Set password and sign in' }).click()
      const key = await makeKey(page, 'cleo rig', 'Lend a machine')
      expect(await page.getByTestId('lend-command').textContent()).toContain(`--to ${outside}`)
      await page.getByRole('button', { name: 'I have it' }).click()
      const to = ['--to', `https://${lab.hub.address4}:8444`]
      const ca = ['--ca', join(gateway.state, 'certs', 'tunnel.crt')]
      lender = await startLender(lab.neighbour, key, ...to, ...ca, '--ollama', ollama, '--name', 'rig')
      await page.getByRole('link', { name: 'Machines' }).click()
      const card = page.locator('[data-testid=lender][data-name=rig][data-connected=true]')
      await card.waitFor()
      expect(await card.textContent()).toContain(lab.neighbour.address4)

      // A second time the link opens nothing.
      await open(page, link)
      await page.getByTestId('link-refused').waitFor()
      await page.getByRole('button', { name: 'To sign in' }).click()

      // All of it is gone at once.
      await page.getByRole('link', { name: 'Profile' }).click()
      await page.getByTestId('delete').click()
      expect(await page.getByTestId('consequences').textContent()).toContain('without your name')
      await page.getByTestId('sure').click()
      await page.getByTestId('sign-in').waitFor()
      await expect.poll(() => lender?.status().state, soon).not.toBe('connected')
      const { people } = await admin('person', 'list')
      expect(JSON.stringify(people)).not.toContain('Cleo')
    })
    await lender?.stop()
    const { requests } = await admin('audit')
    expect(JSON.stringify(requests)).not.toContain('Cleo')
  })

  it('begin with a link that is shown, too; a passkey signs in, and its key asks models', async () => {
    const made = await admin('person', 'invite', 'Dora')
    const token = new URL(made.url).hash
    await browse('inside', { viewport: desktop }, async (page, context) => {
      await giveAuthenticator(page, context)
      await open(page, `${inside}/account${token}`)
      await page.getByRole('button', { name: 'Use a passkey instead' }).click()
      const key = await makeKey(page, 'dora script')
      await page.getByRole('button', { name: 'I have it' }).click()
      expect(await chat(key)).toBe(200)
      await page.getByRole('link', { name: 'Usage' }).click()
      await expect.poll(() => page.getByTestId('total-requests').getAttribute('data-value'), soon).toBe('1')

      await page.getByTestId('sign-out').click()
      await page.getByRole('button', { name: 'Use a passkey' }).click()
      await page.getByRole('link', { name: 'Profile' }).click()
      expect(await page.getByTestId('passkey').textContent()).toContain('sotto.internal')
      // The only way in stays.
      await page.getByRole('button', { name: /^Remove / }).click()
      await page.getByTestId('sure').click()
      await page.getByText('This is the only way to sign in.', { exact: true }).waitFor()

      await page.getByRole('link', { name: 'Keys' }).click()
      await page.getByRole('button', { name: 'Change dora script' }).click()
      await page.getByRole('menuitem', { name: 'Remove…' }).click()
      await page.getByTestId('sure').click()
      await expect.poll(() => chat(key), soon).toBe(401)
      // At an address browsers have none, and the page says so.
      await open(page, `${gateway.origins[0]}/account`)
      await page.getByText('Browsers keep passkeys for names').waitFor()
      expect(await page.getByRole('button', { name: 'Use a passkey' }).count()).toBe(0)
    })
  })

  it('are made by oneself where the admin lets one, and a lost password is set anew by mail', async () => {
    await browse('outside', { viewport: phone }, async (page) => {
      await open(page, `${outside}/account`)
      await page.getByRole('button', { name: 'Make an account' }).click()
      await page.getByLabel('Mail address').fill('eve@example.org')
      await page.getByRole('button', { name: 'Send me the link' }).click()
      await page.getByTestId('mail-sent').waitFor()
      await open(page, await linkTo('eve@example.org'))
      await page.getByLabel('Your name').fill('Eve')
      await page.getByLabel('New password').fill(password)
      await page.getByRole('button', { name: 'Make account', exact: true }).click()
      await page.getByTestId('make-key').waitFor()
      // Whoever signs up belongs to guests, who do not read what others ask.
      await page.getByRole('link', { name: 'Machines' }).click()
      await page.getByText('Your admin does not let your group lend.').waitFor()
      await page.getByTestId('sign-out').click()

      await page.getByRole('button', { name: 'Forgot your password?' }).click()
      await page.getByLabel('Mail address').fill('eve@example.org')
      await page.getByRole('button', { name: 'Send me the link' }).click()
      await page.getByTestId('mail-sent').waitFor()
      await open(page, await linkTo('eve@example.org', 2))
      await page.getByRole('heading', { name: 'A new password for Eve' }).waitFor()
      await page.getByLabel('New password').fill('four other words by now')
      await page.getByRole('button', { name: 'Set password and sign in' }).click()
      await page.getByTestId('make-key').waitFor()
      await page.getByTestId('sign-out').click()
      await page.getByLabel('Name or mail address').fill('eve@example.org')
      await page.getByLabel('Password', { exact: false }).first().fill(password)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByTestId('problem').waitFor()
    })
  })

  it('are all that the world finds there: everything else is 404 without a word', async () => {
    const paths = ['/', '/admin', '/v1/models', '/api/tags', '/sotto/me', '/sotto/admin/overview', '/healthz']
    const at = `https://${lab.hub.address4}:8444`
    const ask = (path: string, ...args: string[]) =>
      curl(lab.neighbour, 'tunnel.crt', '-w', ' %{http_code}', ...args, `${at}${path}`)
    for (const path of [
      ...paths,
      '/accountant',
      '/sotto/accounts',
      '/account/../admin',
      '/_nuxt/../admin',
      '/_nuxt/..%2f',
    ])
      expect(await ask(path, '--path-as-is'), path).toBe(' 404')
    expect(await ask('/account', '-H', 'Host: evil.example')).toBe(' 404')
    expect(await ask('/account')).toMatch(/ 200$/)
    expect(await ask('/sotto/account/me')).toMatch(/signed_out.* 401$/)
  })

  it.each([
    ['phone', phone, 'light'],
    ['phone', phone, 'dark'],
    ['desktop', desktop, 'light'],
    ['desktop', desktop, 'dark'],
  ] as const)(
    'are for everybody’s eyes and hands, and ask nobody else: %s, %s %s',
    async (name, viewport, colorScheme) => {
      const invited = await admin('person', 'invite', 'Fay')
      await browse('inside', { viewport, colorScheme }, async (page, _context, requests) => {
        const look = async (what: string): Promise<void> => {
          await expect.poll(() => page.locator('[aria-busy=true]').count(), soon).toBe(0)
          expect(await violations(page), what).toEqual([])
          const wide = await page.evaluate('document.documentElement.scrollWidth > innerWidth')
          expect(wide, `${what} scrolls sideways`).toBe(false)
          await page.screenshot({ path: join(output, `account-${what}-${name}-${colorScheme}.png`) })
        }
        await open(page, `${inside}/account`)
        await look('sign-in')
        await page.getByRole('button', { name: 'Forgot your password?' }).click()
        await look('reset')
        await open(page, `${inside}/account${new URL(invited.url).hash}`)
        await page.getByRole('heading', { name: 'Welcome, Fay' }).waitFor()
        await look('invitation')
        await page.getByLabel('New password').fill(password)
        await page.getByRole('button', { name: 'Set password and sign in' }).click()
        await page.getByTestId('make-key').click()
        await page.getByTestId('key-form').waitFor()
        await look('key-form')
        await page.keyboard.press('Escape')
        const key = await makeKey(page, `fay ${name} ${colorScheme}`, 'Use models')
        await look('key-made')
        await page.getByRole('button', { name: 'I have it' }).click()
        expect(await chat(key)).toBe(200)
        await look('keys')
        for (const [view, link] of [
          ['lenders', 'Machines'],
          ['usage', 'Usage'],
          ['security', 'Profile'],
        ] as const) {
          await page.getByRole('link', { name: link }).click()
          await page.getByRole('heading', { level: 1, name: link }).waitFor()
          if (view === 'usage') await page.getByTestId('total-requests').waitFor()
          await look(view)
        }
        expect(requests.filter((url) => url.origin !== inside && url.protocol !== 'blob:')).toEqual([])
      })
    },
  )
})
