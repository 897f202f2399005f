/** How a device comes in: it trusts the CA, and is added by a one-time link in a browser. */
import { X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { PNG } from 'pngjs'
import decodeQr from 'qr/decode.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBrowser } from './lab/browser.ts'
import {
  joinNetwork,
  joinOverlay,
  sotto,
  startGateway,
  temporaryDirectory,
  type RunningGateway,
} from './lab/gateway.ts'
import { output } from './lab/home.ts'
import { createLab, type Lab } from './lab/lab.ts'

describe('a device that comes in', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  let plain: string
  let origin: string
  const closers: (() => Promise<unknown>)[] = []

  const run = async (...args: string[]) => {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', gateway.state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }
  const curl = async (...args: string[]) =>
    (await lab.device.run('curl', '-sS', '--max-time', '10', ...args)).stdout
  /** A browser on the device, with a page of ours; closed after the task. */
  const browse = async (
    task: (page: Page) => Promise<void>,
    options: { colorScheme?: 'dark'; viewport?: { width: number; height: number } } = {},
  ) => {
    const browser = await openBrowser(lab.device, {
      ca: `${gateway.state}/certs/root.crt`,
      microphone: '/dev/null',
      directory: join(folder.path, `browser-${options.colorScheme ?? 'light'}`),
      ...options,
    })
    try {
      await task(await browser.newPage())
    } finally {
      await browser.close()
    }
  }

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    gateway = await startGateway(lab.hub, `${folder.path}/state`, '--endpoint', lab.hub.address4)
    closers.push(() => gateway.stop())
    await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '', 'phone')
    origin = gateway.origins[0] ?? ''
    plain = origin.replace('https:', 'http:')
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  describe('and does not trust us yet', () => {
    it('reads the fingerprint without TLS, and trusts the certificate that it belongs to', async () => {
      const page = await curl(`${plain}/enrol`)
      const text = page.replaceAll(/<[^>]+>/g, ' ').replaceAll(/\s+/g, ' ')
      expect(text).toContain(gateway.fingerprint.replaceAll(':', ' '))
      const file = join(folder.path, 'downloaded.crt')
      await curl('-o', file, `${plain}/ca.crt`)
      expect(new X509Certificate(await readFile(file)).fingerprint256).toBe(gateway.fingerprint)
      expect(await curl('--cacert', file, `${origin}/healthz`)).toBe('ok')
      const trusted = (await curl('--cacert', file, `${origin}/enrol`)).replaceAll(/\s+/g, ' ')
      expect(trusted).toContain('this device trusts the gateway already')
    })

    it('is shown the steps of its own system first', async () => {
      for (const [agent, title] of [
        ['Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X)', 'iPhone and iPad'],
        ['Mozilla/5.0 (Linux; Android 16; Pixel 10)', 'Android'],
        ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)', 'Mac'],
        ['Mozilla/5.0 (Windows NT 10.0; Win64; x64)', 'Windows'],
        ['Mozilla/5.0 (X11; Linux x86_64)', 'Linux'],
      ] as const) {
        const page = await curl('-A', agent, `${plain}/enrol`)
        expect(page, agent).toContain(`2. Install, on ${title}`)
        expect(page.match(/<summary>/g)).toHaveLength(4)
      }
    })

    it('gets a profile for Apple’s systems', async () => {
      const answer = await curl('-i', `${plain}/ca.mobileconfig`)
      expect(answer).toMatch(/content-type: application\/x-apple-aspen-config/i)
      expect(answer).toContain('com.apple.security.root')
    })

    it('gets nothing else without TLS', async () => {
      expect(await curl('-i', `${plain}/devices`)).toMatch(
        /^HTTP\/1.1 308 [\s\S]*location: https:\/\/10\.77\.0\.1/i,
      )
      expect(await curl('-i', '-d', '{}', `${plain}/v1/chat/completions`)).toMatch(/^HTTP\/1.1 426 /)
      expect(await curl('-i', `${plain}/enrol`, '-H', 'Host: elsewhere.example')).toMatch(/^HTTP\/1.1 421 /)
      const { exitCode } = await lab.neighbour.run(
        'curl',
        '-s',
        '--max-time',
        '2',
        `http://${lab.hub.address4}:${new URL(origin).port}/enrol`,
      )
      expect(exitCode).toBe(7)
    })
  })

  describe('by a one-time link', () => {
    const decode = async (page: Page): Promise<string> =>
      decodeQr(PNG.sync.read(await page.getByTestId('qr').screenshot()))

    it('has its key made in the browser, which shows the code once', async () => {
      const { link } = await run('device', 'add', 'tablet', '--link')
      await browse(async (page) => {
        await page.goto(link)
        await page.getByTestId('enrol').waitFor()
        expect(page.url()).toBe(`${origin}/link`)
        expect((await run('device', 'list')).devices).toHaveLength(1)
        const sent = page.waitForRequest('**/sotto/enrolment')
        await page.getByTestId('enrol').click()
        expect((await sent).postData()).not.toContain('rivate')
        await page.getByTestId('qr').waitFor()
        await page.screenshot({ path: join(output, 'link.png') })
        const config = await decode(page)
        expect(config).toMatch(/^\[Interface\]\nPrivateKey = [\w+/]{43}=\n/)
        const download = page.waitForEvent('download')
        await page.getByTestId('download').click()
        expect((await download).suggestedFilename()).toBe('tablet.conf')
        await joinOverlay(lab.neighbour, folder.path, config, 'tablet')
        const { stdout } = await lab.neighbour.run(
          'curl',
          '-sS',
          '--max-time',
          '10',
          '--cacert',
          `${gateway.state}/certs/root.crt`,
          `${origin}/healthz`,
        )
        expect(stdout).toBe('ok')
      })
      await browse(async (page) => {
        await page.goto(link)
        await page.getByTestId('enrol').click()
        await page.getByTestId('problem').waitFor()
        expect(await page.getByTestId('problem').textContent()).toContain('has been used')
      })
    })

    it('gets a key from the gateway where the browser can make none, and is told so', async () => {
      const { link } = await run('device', 'add', 'old phone', '--link')
      await browse(async (page) => {
        await page.addInitScript(() => {
          Object.defineProperty(SubtleCrypto.prototype, 'generateKey', {
            value: () => Promise.reject(new Error('no X25519')),
          })
        })
        await page.goto(link)
        await page.getByTestId('no-x25519').waitFor()
        await page.getByTestId('enrol').click()
        await page.getByTestId('qr').waitFor()
        expect(await decode(page)).toMatch(/^\[Interface\]\nPrivateKey = [\w+/]{43}=\n/)
        expect(await page.locator('main').textContent()).toContain(
          'the gateway made the key and has forgotten it',
        )
      })
    })

    it('is told when the link is no whole one', async () => {
      await browse(async (page) => {
        await page.goto(`${origin}/link#e30`)
        await page.getByTestId('damaged').waitFor()
      })
    })

    it('reaches nothing but enrolment from the link’s place', async () => {
      const { link } = await run('device', 'add', 'guest', '--link')
      const content = JSON.parse(Buffer.from(link.split('#')[1], 'base64url').toString())
      const host = await lab.addHost('guest')
      const config = `[Interface]\nPrivateKey = ${content.privateKey}\nAddress = ${content.address4}/32\n[Peer]\nPublicKey = ${content.hub}\nPresharedKey = ${content.presharedKey}\nEndpoint = ${content.endpoint}\nAllowedIPs = ${content.range4}\n`
      await joinOverlay(host, folder.path, config, 'guest')
      const get = async (path: string) =>
        (
          await host.run(
            'curl',
            '-sk',
            '--max-time',
            '10',
            '-o',
            '/dev/null',
            '-w',
            '%{http_code}',
            origin + path,
          )
        ).stdout
      for (const path of ['/enrol', '/link', '/favicon.svg']) expect(await get(path), path).toBe('200')
      for (const path of ['/', '/api/tags', '/sotto/devices', '/sotto/network'])
        expect(await get(path), path).toBe('403')
      expect((await host.run('ping', '-c', '1', '-W', '1', '10.77.0.2')).exitCode).not.toBe(0)
    })

    it('is not let in by guessing, which is stopped', async () => {
      const guess = async () =>
        await curl(
          '-k',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
          '-H',
          'Content-Type: application/json',
          '-d',
          `{"token":"${'x'.repeat(43)}"}`,
          `${origin}/sotto/enrolment`,
        )
      const answers: string[] = []
      for (let number = 0; number < 12; number += 1) answers.push(await guess())
      expect(answers[0]).toBe('404')
      expect(answers.indexOf('429')).toBeLessThanOrEqual(10)
      expect(new Set(answers.slice(answers.indexOf('429')))).toEqual(new Set(['429']))
    })

    it('joins a Linux device once, and says so the second time', async () => {
      const { link } = await run('device', 'add', 'server', '--link', '1h')
      const host = await lab.addHost('server')
      const joined = await joinNetwork(host, join(folder.path, 'server'), link)
      closers.push(joined.stop)
      expect(joined).toMatchObject({ name: 'server', origin })
      await expect(joinNetwork(await lab.addHost('thief'), join(folder.path, 'thief'), link)).rejects.toThrow(
        'has been used',
      )
      await expect(joinNetwork(host, join(folder.path, 'server'), link)).rejects.toThrow(
        'has joined a network already',
      )
    })
  })

  it('scans its code from a picture', async () => {
    const [png, svg] = [join(folder.path, 'code.png'), join(folder.path, 'code.svg')]
    await run('device', 'add', 'from png', '--qr', png)
    expect(decodeQr(PNG.sync.read(await readFile(png)))).toMatch(/^\[Interface\]\nPrivateKey = [\w+/]{43}=\n/)
    await run('device', 'add', 'from svg', '--qr', svg, '--out', join(folder.path, 'svg.conf'))
    expect((await stat(svg)).mode & 0o777).toBe(0o600)
    await browse(async (page) => {
      await page.setContent(
        `<img width="600" src="data:image/svg+xml;base64,${(await readFile(svg)).toString('base64')}">`,
      )
      const picture = PNG.sync.read(await page.locator('img').screenshot())
      expect(decodeQr(picture)).toBe(await readFile(join(folder.path, 'svg.conf'), 'utf8'))
    })
  })

  it('sees its network on the page of devices', async () => {
    for (const [name, options] of [
      ['desktop-light', {}],
      ['phone-dark', { colorScheme: 'dark', viewport: { width: 390, height: 844 } }],
    ] as const)
      await browse(async (page) => {
        await page.goto(`${origin}/devices`)
        await page.getByTestId('device-row').first().waitFor()
        await expect.poll(() => page.getByTestId('device-row').count()).toBeGreaterThanOrEqual(3)
        const phone = page.locator('[data-testid=device-row][data-name=phone]')
        expect(await phone.getByTestId('device-state').getAttribute('data-state')).toBe('online')
        await page.waitForTimeout(5_000)
        await page.screenshot({ path: join(output, `devices-${name}.png`) })
        await page.goto(`${origin}/enrol`)
        // The page's own style, which its policy must let through.
        expect(await page.evaluate(`getComputedStyle(document.querySelector('.fingerprint')).display`)).toBe(
          'grid',
        )
        await page.screenshot({ path: join(output, `enrol-${name}.png`) })
      }, options)
  })
})
