/** The admin's API on a real overlay: what a phone may change, after a code from the gateway's machine. */
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { joinOverlay, sotto, startGateway, temporaryDirectory, type RunningGateway } from './lab/gateway.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'

const refusal = z.object({ error: z.object({ code: z.string(), message: z.string(), remedy: z.string() }) })
const byLink = z.object({
  by: z.literal('link'),
  link: z.object({ url: z.string(), config: z.string(), join: z.string() }),
})
const enrolled = z.object({ config: z.string() })

interface Sent {
  readonly method?: string
  readonly body?: object
  /** Its file of cookies. */
  readonly jar?: string
}

describe('the admin’s phone', () => {
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
    gateway = await startGateway(lab.hub, `${folder}/state`, '--endpoint', lab.hub.address4)
    closers.push(() => gateway.stop())
    origin = gateway.origins[0] ?? ''
    await joinOverlay(lab.device, folder, gateway.firstDevice?.config ?? '', 'phone')
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  const run = async (...args: string[]) => {
    const { stdout, stderr, exitCode } = await sotto(...args, '--state', gateway.state, '--json')
    if (exitCode !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }
  /** Asks as a browser of our own page does. */
  const ask = async (host: Host, path: string, { method = 'GET', body, jar }: Sent = {}) => {
    const { stdout } = await host.run(
      'curl',
      '-sS',
      '--max-time',
      '5',
      '--cacert',
      `${gateway.state}/certs/root.crt`,
      '-X',
      method,
      '-H',
      `Origin: ${origin}`,
      ...(body ? ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)] : []),
      ...(jar === undefined ? [] : ['-b', jar, '-c', jar]),
      '-w',
      '\n%{http_code}',
      origin + path,
    )
    const [, text = '', status] = /^([\s\S]*)\n(\d+)$/.exec(stdout) ?? []
    return { status: Number(status), text }
  }
  const code = ({ text }: { readonly text: string }) => refusal.parse(JSON.parse(text)).error.code
  const newTenant = (name: string, jar?: string): Sent => ({
    method: 'POST',
    body: { name },
    ...(jar !== undefined && { jar }),
  })
  const confirm = (body: object, jar: string) =>
    ask(lab.device, '/sotto/admin/confirmation', { method: 'POST', body, jar })

  it('changes things once a code was typed on it, and its cookie is of no use elsewhere', async () => {
    const jar = join(folder, 'phone.jar')
    expect(code(await ask(lab.device, '/sotto/admin/tenants', newTenant('guests')))).toBe(
      'confirmation_required',
    )
    const shown = await run('admin', 'code')
    expect(shown.page).toBe(`${origin}/admin`)
    expect((await confirm({ code: '0000 0000' }, jar)).status).toBe(403)
    expect((await confirm({ code: shown.code }, jar)).status).toBe(204)
    expect((await ask(lab.device, '/sotto/admin/tenants', newTenant('guests', jar))).status).toBe(201)
    expect(code(await ask(lab.hub, '/sotto/admin/tenants', newTenant('more', jar)))).toBe(
      'confirmation_required',
    )
    expect(JSON.parse((await ask(lab.device, '/sotto/me', { jar })).text)).toMatchObject({
      name: 'phone',
      admin: true,
      confirmedUntil: expect.any(String),
    })
  })

  it('lets a device in by a link, which leads from its own place to one of the network, and puts it out', async () => {
    const jar = join(folder, 'phone.jar')
    const wish = { name: 'tablet', person: 'Bob', by: 'link' }
    const made = await ask(lab.device, '/sotto/admin/devices', { method: 'POST', body: wish, jar })
    const { link } = byLink.parse(JSON.parse(made.text))
    const host = await lab.addHost('tablet')
    const first = await joinOverlay(host, folder, link.config, 'guest')
    expect((await ask(host, '/link')).text).toContain('<div id="__nuxt"')
    expect((await ask(host, '/sotto/me')).status).toBe(403)
    const { token } = JSON.parse(Buffer.from(link.url.split('#')[1] ?? '', 'base64url').toString())
    const enrolment = await ask(host, '/sotto/enrolment', { method: 'POST', body: { token } })
    await host.run('wg-quick', 'down', join(folder, `${first}.conf`))
    await joinOverlay(host, folder, enrolled.parse(JSON.parse(enrolment.text)).config, 'tablet')
    expect(JSON.parse((await ask(host, '/sotto/me')).text)).toMatchObject({
      name: 'tablet',
      person: 'Bob',
      admin: false,
    })
    expect((await ask(host, '/sotto/admin/overview')).status).toBe(403)
    expect((await ask(lab.device, '/sotto/admin/devices/tablet', { method: 'DELETE', jar })).status).toBe(204)
    expect((await ask(host, '/sotto/me')).status).toBe(0)
    const { requests } = await run('audit', '--device', 'phone')
    expect(requests).toContainEqual(
      expect.objectContaining({ method: 'DELETE', path: '/sotto/admin/devices/tablet', status: 204 }),
    )
    expect(requests).toContainEqual(
      expect.objectContaining({ method: 'POST', path: '/sotto/admin/links/tablet', status: 201 }),
    )
  })

  it('is confirmed by a password, too, until everything is forgotten', async () => {
    const old = join(folder, 'phone.jar')
    const jar = join(folder, 'again.jar')
    const password = 'four words are enough'
    const sottoFile = resolve(import.meta.dirname, '..', 'sotto.ts')
    await execa(process.execPath, [sottoFile, 'admin', 'password', '--state', gateway.state], {
      input: `${password}\n`,
    })
    // A new password ends what was confirmed before.
    expect(code(await ask(lab.device, '/sotto/admin/tenants', newTenant('b', old)))).toBe(
      'confirmation_required',
    )
    expect((await confirm({ password }, jar)).status).toBe(204)
    expect((await ask(lab.device, '/sotto/admin/tenants', newTenant('b', jar))).status).toBe(201)
    await run('admin', 'forget')
    expect(code(await ask(lab.device, '/sotto/admin/tenants', newTenant('c', jar)))).toBe(
      'confirmation_required',
    )
    await run('admin', 'password', '--remove')
    expect((await confirm({ password }, jar)).status).toBe(403)
  })

  it('sees what commands change', async () => {
    await run('person', 'add', 'Cleo', '--tenant', 'guests')
    await run('person', 'rename', 'Cleo', 'Chloe')
    const { people } = await run('person', 'list')
    expect(people).toContainEqual({
      name: 'Chloe',
      tenant: 'guests',
      admin: false,
      devices: 0,
      keys: 0,
      account: null,
    })
    expect((await ask(lab.device, '/sotto/admin/people')).text).toContain('"Chloe"')
    await run('person', 'remove', 'Chloe')
    expect((await ask(lab.device, '/sotto/admin/people')).text).not.toContain('Chloe')
  })
})
