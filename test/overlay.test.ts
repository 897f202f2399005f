import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLab, type Lab } from './lab/lab.ts'
import {
  joinOverlay,
  sotto,
  startGateway,
  startStandIn,
  temporaryDirectory,
  type RunningGateway,
} from './lab/gateway.ts'

describe('a hub, a device and a neighbour', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  let deviceInterface: string
  let port: string
  const closers: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(ollama.stop)
    gateway = await startGateway(
      lab.hub,
      `${folder.path}/state`,
      '--endpoint',
      lab.hub.address4,
      '--ollama',
      ollama.url,
    )
    closers.push(() => gateway.stop())
    port = new URL(gateway.origins[0] ?? '').port
    deviceInterface = await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '')
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  // Not `wg show interfaces`, which sees those of every network namespace.
  const hubInterface = async () =>
    (await lab.hub.run('ls', '/sys/class/net')).stdout.split(/\s+/).find((name) => name.startsWith('sotto'))
  const curl = (...args: string[]) =>
    lab.device.run(
      'curl',
      '-sS',
      '--max-time',
      '10',
      '--cacert',
      `${folder.path}/state/certs/root.crt`,
      ...args,
    )

  it('serves the device on both address families, trusted by the CA alone', async () => {
    expect(gateway.overlay).toHaveProperty('implementation')
    for (const origin of gateway.origins) {
      const { stdout, stderr } = await curl(`${origin}/healthz`)
      expect({ origin, stdout, stderr }).toEqual({ origin, stdout: 'ok', stderr: '' })
    }
    expect(gateway.origins).toHaveLength(2)
  })

  it('streams Ollama through, natively and as OpenAI, to a caller known by its address', async () => {
    const body = (text: string) =>
      JSON.stringify({ model: 'stand-in', messages: [{ role: 'user', content: text }] })
    const native = await curl(`${gateway.origins[0]}/api/chat`, '-d', body('native words'))
    const lines = native.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.length).toBeGreaterThan(3)
    expect(lines.map(({ message }) => message.content).join('')).toBe(
      'You said: native words. That is 2 words.',
    )
    expect(lines.at(-1)).toMatchObject({ done: true, done_reason: 'stop' })
    const openai = await curl(`${gateway.origins[0]}/v1/chat/completions`, '-d', body('other words'))
    expect(JSON.parse(openai.stdout).choices[0].message.content).toBe(
      'You said: other words. That is 2 words.',
    )
    const models = await curl(`${gateway.origins[0]}/v1/models`)
    expect(JSON.parse(models.stdout).data.map(({ id }: { id: string }) => id)).toEqual(['stand-in:latest'])
  })

  it('refuses what changes models, whoever asks', async () => {
    for (const path of ['pull', 'push', 'create', 'copy', 'delete', 'blobs/sha256:00']) {
      const { stdout } = await curl(
        '-w',
        ' %{http_code}',
        '-X',
        'POST',
        `${gateway.origins[0]}/api/${path}`,
        '-d',
        '{}',
      )
      expect(stdout, path).toMatch(/ 403$/)
    }
  })

  it('refuses a page of another origin and a name that is not ours', async () => {
    const status = async (...args: string[]) =>
      (await curl('-o', '/dev/null', '-w', '%{http_code}', ...args, `${gateway.origins[0]}/health`)).stdout
    expect(await status('-H', 'Origin: https://elsewhere.example')).toBe('403')
    expect(await status('-H', 'Host: rebound.example')).toBe('421')
    expect(await status('-H', `Origin: ${gateway.origins[0]}`)).toBe('200')
  })

  describe('the neighbour on the same Ethernet', () => {
    const reach = (...args: string[]) => lab.neighbour.run('curl', '-sk', '--max-time', '3', ...args)

    it('can reach the hub itself, so that what follows is not for want of a path', async () => {
      expect((await lab.neighbour.run('ping', '-c1', '-W2', lab.hub.address4)).exitCode).toBe(0)
    })

    it('is refused at the underlay address', async () => {
      for (const host of [lab.hub.address4, `[${lab.hub.address6}]`])
        expect((await reach(`https://${host}:${port}/healthz`)).exitCode, host).toBe(7)
    })

    it('gets no connection when it routes the overlay at the hub', async () => {
      await lab.neighbour.run('ip', 'route', 'replace', '10.77.0.0/24', 'via', lab.hub.address4)
      await lab.neighbour.run('ip', '-6', 'route', 'replace', 'fd00::/8', 'via', lab.hub.address6)
      for (const origin of gateway.origins)
        expect((await reach(`${origin}/healthz`)).exitCode, origin).toBe(28)
    })

    it('gets no connection with a source address of the overlay, nor when it takes the device’s', async () => {
      await lab.neighbour.run('ip', 'route', 'replace', '10.77.0.0/24', 'via', lab.hub.address4)
      for (const address of ['10.77.0.2', '10.77.0.99']) {
        await lab.neighbour.run('ip', 'address', 'add', `${address}/32`, 'dev', 'eth0')
        const { exitCode } = await reach('--interface', address, `${gateway.origins[0]}/healthz`)
        expect(exitCode, address).toBe(28)
        await lab.neighbour.run('ip', 'address', 'del', `${address}/32`, 'dev', 'eth0')
      }
    })
  })

  it('listens on the overlay alone', async () => {
    const { stdout } = await lab.hub.run('ss', '-Hltn')
    const ours = stdout.split('\n').filter((line) => line.includes(`:${port} `))
    expect(ours).toHaveLength(2)
    for (const line of ours) expect(line).toMatch(/10\.77\.0\.1:|\[fd[0-9a-f:]+::1\]:/)
  })

  it('puts an interface right that was changed by hand, or taken away', async () => {
    const hub = (await hubInterface()) ?? ''
    const { stdout: key } = await lab.hub.run('wg', 'show', hub, 'peers')
    await lab.hub.run('wg', 'set', hub, 'peer', key.trim(), 'remove')
    await expect
      .poll(async () => (await lab.hub.run('wg', 'show', hub, 'peers')).stdout, { timeout: 8_000 })
      .toBe(key)
    await lab.hub.run('ip', 'link', 'delete', hub)
    await expect
      .poll(async () => (await lab.hub.run('wg', 'show', hub, 'peers')).stdout, { timeout: 8_000 })
      .toBe(key)
    await expect
      .poll(async () => (await curl(`${gateway.origins[0]}/healthz`)).stdout, {
        timeout: 30_000,
        interval: 500,
      })
      .toBe('ok')
  })

  it('keeps a device that has no other news, when the gateway is started again', async () => {
    const { state } = gateway
    await gateway.stop()
    expect(await hubInterface()).toBeUndefined()
    gateway = await startGateway(lab.hub, state, '--port', port)
    expect(gateway.firstDevice).toBeUndefined()
    await expect
      .poll(async () => (await curl(`${gateway.origins[0]}/healthz`)).stdout, {
        timeout: 40_000,
        interval: 500,
      })
      .toBe('ok')
  })

  it('ends the open socket of a removed device within a second, and lets it in no more', async () => {
    const script = `
      const { WebSocket } = await import('ws')
      const socket = new WebSocket(process.argv[1].replace('https', 'wss') + '/v1/realtime', 'realtime.sotto.v1')
      socket.on('error', () => {})
      socket.on('message', (data) => console.log(JSON.parse(data).type))
      socket.on('close', () => console.log('closed', Date.now()))`
    const child = lab.device.start(
      process.execPath,
      ['--input-type=module', '-e', script, '--', gateway.origins[0] ?? ''],
      {
        env: { NODE_EXTRA_CA_CERTS: `${gateway.state}/certs/root.crt` },
      },
    )
    await new Promise<void>((settle) => {
      child.stdout?.on('data', (chunk: Buffer) => chunk.toString().includes('session.created') && settle())
    })
    const { exitCode } = await sotto('device', 'remove', 'phone', '--state', gateway.state)
    const removed = Date.now()
    expect(exitCode).toBe(0)
    const { stdout } = await child
    const [, closed] = /closed (\d+)/.exec(String(stdout)) ?? []
    expect(Number(closed) - removed).toBeLessThan(1_000)
    expect((await curl('--max-time', '3', `${gateway.origins[0]}/healthz`)).exitCode).not.toBe(0)
    expect(deviceInterface).toMatch(/^sd/)
  })

  it('takes up a device that is added while it runs', async () => {
    const { stdout } = await sotto('device', 'add', 'laptop', '--state', gateway.state, '--json')
    const { config, device } = JSON.parse(stdout)
    expect(device).toMatchObject({ name: 'laptop', address4: '10.77.0.3' })
    await lab.device.start('ip', ['link', 'delete', deviceInterface])
    await joinOverlay(lab.device, folder.path, config)
    expect((await curl(`${gateway.origins[0]}/healthz`)).stdout).toBe('ok')
    const list = await sotto('device', 'list', '--state', gateway.state, '--json')
    expect(JSON.parse(list.stdout).devices).toMatchObject([{ name: 'laptop', address4: '10.77.0.3' }])
    expect(list.stdout).not.toContain(/PresharedKey = (\S+)/.exec(config)?.[1])
  })
})
