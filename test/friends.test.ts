/** Two gateways that are friends and a lender of one of them, each in a network of its own. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { violations } from './lab/axe.ts'
import { openBrowser } from './lab/browser.ts'
import { sotto, startGateway, startStandIn, temporaryDirectory, type RunningGateway } from './lab/gateway.ts'
import { output } from './lab/home.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'
import { startLender } from './lab/lender.ts'

const root = resolve(import.meta.dirname, '..')

describe('a friend’s models', () => {
  let lab: Lab
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  /** Her relay is open to all; Bob's gateway can't be reached from outside. */
  let ada: RunningGateway
  let bob: RunningGateway
  const closers: (() => unknown)[] = []

  const run = async ({ state }: RunningGateway, ...args: string[]) => {
    const { stdout, stderr } = await sotto(...args, '--state', state, '--json')
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout)
  }
  const at = (gateway: RunningGateway): Host => (gateway === ada ? lab.hub : lab.device)
  const curl = (gateway: RunningGateway, path: string, ...more: readonly string[]): string[] => [
    '-sS',
    '--no-buffer',
    '--max-time',
    '60',
    '--cacert',
    join(gateway.state, 'certs', 'root.crt'),
    ...more,
    `${gateway.origins[0]}${path}`,
  ]
  const get = async (gateway: RunningGateway, path: string) =>
    JSON.parse((await at(gateway).run('curl', ...curl(gateway, path))).stdout)
  /** Status, `Retry-After` and body. */
  const ask = async (gateway: RunningGateway, path: string, body: object) => {
    const more = ['-w', '\n%{http_code} %header{retry-after}', '-d', JSON.stringify(body)]
    const { stdout } = await at(gateway).run('curl', ...curl(gateway, path, ...more))
    const [, text = '', status, wait] = /^([\s\S]*)\n(\d+) (\d*)$/.exec(stdout) ?? []
    return { status: Number(status), wait: Number(wait), text }
  }
  /** Pieces as they come. */
  const stream = (gateway: RunningGateway, path: string, body: object) => {
    const child = at(gateway).start('curl', curl(gateway, path, '-d', JSON.stringify(body)), {
      buffer: false,
    })
    const pieces: string[] = []
    child.stdout?.on('data', (chunk: Buffer) => void pieces.push(chunk.toString()))
    return { pieces, ended: child.then(() => pieces.join('')), stop: () => child.kill('SIGKILL') }
  }
  const chat = (model: string, words: number) => ({
    model,
    stream: true,
    max_tokens: 3_000,
    messages: [{ role: 'user', content: `Say after me: ${'word '.repeat(words)}` }],
    input: `Say after me: ${'word '.repeat(words)}`,
  })
  const models = async (gateway: RunningGateway): Promise<string[]> =>
    (await get(gateway, '/api/tags')).models.map(({ name }: { readonly name: string }) => name)
  const shows = (gateway: RunningGateway, ...names: readonly string[]) =>
    expect.poll(() => models(gateway), { timeout: 30_000 }).toEqual(expect.arrayContaining([...names]))

  /** Of each gateway's own machine, which is the admin's. */
  const visit = async (
    gateway: RunningGateway,
    options: object,
    path: string,
    task: (page: Page) => Promise<void>,
  ): Promise<void> => {
    const directory = join(gateway.state, 'browser')
    await mkdir(directory, { recursive: true })
    const ca = join(gateway.state, 'certs', 'root.crt')
    const browser = await openBrowser(at(gateway), { ca, directory, ...options })
    try {
      const page = browser.pages()[0] ?? (await browser.newPage())
      await page.goto(`${gateway.origins[0]}${path}`)
      await task(page)
    } finally {
      await browser.close()
    }
  }
  const befriend = async (): Promise<void> => {
    const { code, addresses } = await run(ada, 'federation', 'invite', 'bob')
    const joining = [join(root, 'sotto.ts'), 'federation', 'join', addresses[0], '--name', 'ada']
    const joined = await lab.device.start(process.execPath, [...joining, '--state', bob.state, '--json'], {
      input: code,
    })
    expect(joined).toMatchObject({ exitCode: 0 })
  }

  beforeAll(async () => {
    await mkdir(output, { recursive: true })
    lab = await createLab()
    folder = await temporaryDirectory()
    closers.push(lab.close, folder.remove)
    const adas = await startStandIn(lab.hub, 'ollama', 0, 'large:7b')
    const lent = await startStandIn(lab.neighbour, 'ollama', 0, 'lent:1b')
    const bobs = await startStandIn(lab.device, 'ollama')
    const whisper = await startStandIn(lab.device, 'whisper')
    closers.push(adas.stop, lent.stop, bobs.stop, whisper.stop)
    const config = join(folder.path, 'config.yaml')
    await writeFile(
      config,
      `tunnel: { listen: "0.0.0.0:8444", names: ["${lab.hub.address4}"] }\nrelay: { outside: true }\n`,
    )
    const start = (host: Host, name: string, ...options: string[]) =>
      startGateway(host, join(folder.path, name), '--loopback', ...options)
    ada = await start(lab.hub, 'ada', '--config', config, '--ollama', adas.url)
    closers.push(() => ada.stop())
    bob = await start(lab.device, 'bob', '--ollama', bobs.url, '--whisper', whisper.url)
    closers.push(() => bob.stop())
    const { secret } = await run(ada, 'key', 'add', 'rig', '--services', 'lend')
    const authority = join(ada.state, 'certs', 'tunnel.crt')
    const to = ['--to', `https://${lab.hub.address4}:8444`, '--ca', authority]
    const lender = await startLender(lab.neighbour, secret, ...to, '--name', 'rig', '--ollama', lent.url)
    closers.push(lender.stop)
    await befriend()
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it('are those that were granted, a lender’s among them, in both directions', async () => {
    await shows(ada, 'large:7b', 'lent:1b')
    expect(await models(bob)).toEqual(['stand-in:latest'])
    await run(ada, 'federation', 'grant', 'bob', 'large:7b', 'lent*')
    await run(bob, 'federation', 'grant', 'ada', 'stand-in')
    await shows(bob, 'stand-in:latest', 'large:7b@ada', 'lent:1b@ada')
    await shows(ada, 'stand-in:latest@bob')
    expect(await models(bob)).not.toContain('stand-in:latest@ada')
    expect((await get(bob, '/v1/models')).data).toContainEqual(
      expect.objectContaining({ id: 'lent:1b@ada', owned_by: 'ada' }),
    )
  })

  it.each([
    ['/api/chat', '"done":true', /"model":"NAME"/],
    ['/v1/chat/completions', 'data: [DONE]', /"model":"NAME"/],
    ['/v1/responses', 'response.completed', /"response":\{[^\n]*"model":"NAME"/],
    ['/v1/messages', 'event: message_stop', /"message":\{[^\n]*"model":"NAME"/],
  ])(
    'stream %s as it is made, over either tunnel, under the name that was asked for',
    async (path, end, named) => {
      const places = [
        [bob, 'large:7b@ada'],
        [bob, 'lent:1b@ada'],
        [ada, 'stand-in:latest@bob'],
      ] as const
      for (const [gateway, model] of places) {
        const { ended, pieces } = stream(gateway, path, chat(model, 20))
        const text = await ended
        expect(text, model).toContain(end)
        expect(text, model).toMatch(new RegExp(named.source.replace('NAME', RegExp.escape(model))))
        expect(text.match(/word/g)?.length, model).toBeGreaterThanOrEqual(20)
        // Its words are 15 ms apart: what was gathered on the way would come at once.
        expect(pieces.length, model).toBeGreaterThan(5)
      }
    },
  )

  it('count at both ends: as the caller’s there, and here as the friend’s tenant', async () => {
    const { requests: bobs } = await run(bob, 'audit')
    expect(bobs).toContainEqual(expect.objectContaining({ model: 'lent:1b@ada', backend: '@ada' }))
    const { requests: adas } = await run(ada, 'audit')
    expect(adas).toContainEqual(
      expect.objectContaining({ model: 'lent:1b', tenant: 'friend-bob', address: lab.device.address4 }),
    )
    const { usage } = await run(ada, 'usage', '--by', 'tenant')
    expect(JSON.stringify(usage)).toContain('friend-bob')
  })

  it('refuse in the caller’s dialect when the friend’s budget is spent, without an address or a secret', async () => {
    await run(ada, 'limit', 'tenant:friend-bob', '--tokens-per-day', '1')
    const native = await ask(bob, '/api/chat', chat('large:7b@ada', 1))
    expect(native).toMatchObject({ status: 429 })
    expect(JSON.parse(native.text).error).toMatch(
      /^The budget that ada gives this gateway is spent\. Ask ada/,
    )
    const openAi = await ask(bob, '/v1/chat/completions', chat('large:7b@ada', 1))
    expect(openAi.status).toBe(429)
    expect(JSON.parse(openAi.text).error).toMatchObject({ code: 'insufficient_quota' })
    const anthropic = await ask(bob, '/v1/messages', chat('large:7b@ada', 1))
    expect(JSON.parse(anthropic.text).error).toMatchObject({ type: 'rate_limit_error' })
    for (const { text } of [native, openAi, anthropic]) expect(text).not.toMatch(/192\.0\.2|8444|tunnel/)
    await run(ada, 'limit', 'tenant:friend-bob', '--tokens-per-day', 'none', '--requests-per-minute', '1')
    await ask(bob, '/api/chat', chat('large:7b@ada', 1))
    const often = await ask(bob, '/api/chat', chat('large:7b@ada', 1))
    expect(often).toMatchObject({
      status: 429,
      text: expect.stringContaining('ada lets this gateway ask only'),
    })
    expect(often.wait).toBeGreaterThan(0)
    await run(ada, 'limit', 'tenant:friend-bob', '--requests-per-minute', 'none')
  })

  for (const [name, size] of [
    ['phone', { viewport: { width: 390, height: 844 }, hasTouch: true }],
    ['desktop', { viewport: { width: 1280, height: 800 } }],
  ] as const)
    for (const colorScheme of ['light', 'dark'] as const)
      it(`are chosen knowing whose gateway gets what one writes: ${name}, ${colorScheme}`, () =>
        visit(bob, { ...size, colorScheme }, '/', async (page) => {
          const whither = page.getByTestId('whither')
          await page.getByTestId('starter').first().waitFor()
          expect(await whither.textContent()).toContain('and nowhere else')
          await page.getByTestId('model').click()
          const list = page.getByRole('listbox')
          await list.getByText('What you write to these goes to ada’s gateway.').waitFor()
          await page.screenshot({ path: join(output, `friends-models-${name}-${colorScheme}.png`) })
          await page.getByRole('option', { name: 'large:7b@ada' }).click()
          await expect.poll(() => whither.textContent()).toContain('goes to ada’s gateway')
          await list.waitFor({ state: 'hidden' })
          expect(await page.getByRole('textbox').getAttribute('placeholder')).toBe('Write to ada’s gateway…')
          await page.screenshot({ path: join(output, `friends-start-${name}-${colorScheme}.png`) })
          expect(await violations(page)).toEqual([])
          await page.getByRole('textbox').fill('Say after me: over the hills')
          await page.keyboard.press('Enter')
          const answer = page.getByTestId('message-assistant').getByTestId('text')
          await expect.poll(() => answer.textContent(), { timeout: 20_000 }).toContain('over the hills')
        }))

  it.each([
    ['phone-dark', { viewport: { width: 390, height: 844 }, hasTouch: true, colorScheme: 'dark' }],
    ['desktop-light', { viewport: { width: 1280, height: 800 }, colorScheme: 'light' }],
  ])('are shown to the admin: what is granted, and what is shared with us: %s', (name, options) =>
    visit(ada, options, '/admin/relays', async (page) => {
      const friend = page.getByTestId('friend-grants').getByTestId('friend')
      await friend.getByText('stand-in:latest@bob').waitFor()
      expect(await friend.getByTestId('grants').textContent()).toContain('large:7b, lent*')
      await friend.scrollIntoViewIfNeeded()
      await page.screenshot({ path: join(output, `friends-grants-${name}.png`) })
      expect(await violations(page)).toEqual([])
    }),
  )

  it('stand among the services as a gateway that prompts leave for', () =>
    visit(bob, { viewport: { width: 1280, height: 800 } }, '/admin/services', async (page) => {
      const backend = page.locator('[data-testid="backend"][data-name="@ada"]')
      await backend.getByText('large:7b@ada').waitFor()
      expect(await backend.textContent()).toContain('ada’s gateway: what is asked of it leaves this one')
      await page.screenshot({ path: join(output, 'friends-services-desktop.png') })
    }))

  it('are granted on the page, by who is the admin: at once, and taken back by a click', () =>
    visit(ada, { viewport: { width: 1280, height: 800 } }, '/admin/relays', async (page) => {
      const grants = page.getByTestId('grants')
      await grants.click()
      await page.getByRole('option', { name: 'stand-in:latest' }).click()
      const confirmation = page.getByTestId('confirmation')
      await confirmation.locator('input').fill((await run(ada, 'admin', 'code')).code)
      await page.keyboard.press('Enter')
      await confirmation.waitFor({ state: 'detached' })
      await shows(bob, 'stand-in:latest@ada')
      await page.getByRole('button', { name: 'Undo' }).click()
      await expect.poll(() => models(bob)).not.toContain('stand-in:latest@ada')
      await expect.poll(() => grants.textContent()).toContain('large:7b, lent*')
    }))

  it('that break off are told as such in each dialect, and answer again when the path is back', async () => {
    const chain = '{ type filter hook output priority 0; }'
    await lab.device.run('sh', '-c', `nft add table ip path; nft 'add chain ip path c ${chain}'`)
    const native = stream(bob, '/api/chat', chat('large:7b@ada', 2_000))
    const openAi = stream(bob, '/v1/chat/completions', chat('lent:1b@ada', 2_000))
    const back = stream(ada, '/v1/messages', chat('stand-in@bob', 2_000))
    for (const { pieces } of [native, openAi, back])
      await expect.poll(() => pieces.length, { timeout: 20_000 }).toBeGreaterThan(3)
    await lab.device.run('nft', 'add', 'rule', 'ip', 'path', 'c', 'ip', 'daddr', lab.hub.address4, 'drop')
    expect(await native.ended).toMatch(/\{"error":"ada’s gateway broke off[^\n]*\n$/)
    expect(await openAi.ended).toMatch(/data: \{"error":\{"message":"ada’s gateway broke off[^\n]*\n\n$/)
    expect(await back.ended).toMatch(/event: error\ndata: [^\n]*bob’s gateway broke off[^\n]*\n\n$/)
    const away = await ask(bob, '/v1/chat/completions', chat('large:7b@ada', 1))
    expect(away).toMatchObject({ status: 503, wait: 5 })
    expect(JSON.parse(away.text).error.message).toMatch(/^ada’s gateway is away\./)
    await lab.device.run('nft', 'flush', 'chain', 'ip', 'path', 'c')
    await shows(bob, 'large:7b@ada')
    expect(await stream(bob, '/api/chat', chat('large:7b@ada', 3)).ended).toContain('"done":true')
  })

  it('are gone when they are revoked; and with the friendship goes what is under way', async () => {
    await run(ada, 'federation', 'revoke', 'bob', 'large:7b')
    await expect.poll(() => models(bob)).not.toContain('large:7b@ada')
    const refused = await ask(bob, '/api/chat', chat('large:7b@ada', 1))
    expect(refused).toMatchObject({
      status: 404,
      text: expect.stringContaining('ada shares no “large:7b@ada”'),
    })
    const long = stream(bob, '/api/chat', chat('lent:1b@ada', 2_000))
    await expect.poll(() => long.pieces.length, { timeout: 20_000 }).toBeGreaterThan(3)
    await run(ada, 'federation', 'remove', 'bob')
    expect(await long.ended).toMatch(/\{"error":"ada’s gateway broke off[^\n]*\n$/)
    await expect.poll(() => models(bob)).toEqual(['stand-in:latest'])
    expect(await models(ada)).not.toContain('stand-in:latest@bob')
  })
})
