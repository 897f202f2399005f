/** A gateway and lenders in networks of their own: through the public listener for tunnels, and by the overlay. */
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  joinOverlay,
  sotto,
  startGateway,
  startStandIn,
  temporaryDirectory,
  type RunningGateway,
} from './lab/gateway.ts'
import { createLab, type Host, type Lab } from './lab/lab.ts'
import { bigBytes, startLender, startService, type StartedLender } from './lab/lender.ts'
import { recording, sentences } from './stand-ins/speech.ts'

describe('a machine that lends', () => {
  let lab: Lab
  let gateway: RunningGateway
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>
  let person = ''
  let key = ''
  let lender: StartedLender
  let options: readonly string[] = []
  const closers: (() => unknown)[] = []

  const run = async (...args: string[]) =>
    JSON.parse((await sotto(...args, '--state', gateway.state, '--json')).stdout)
  const curl = (path: string, ...more: readonly string[]): string[] => [
    '-sS',
    '--no-buffer',
    '--max-time',
    '60',
    '--cacert',
    join(gateway.state, 'certs', 'root.crt'),
    '-H',
    `Authorization: Bearer ${key}`,
    ...more,
    `${gateway.origins[0]}${path}`,
  ]
  const ask = async (path: string, ...more: readonly string[]): Promise<string> =>
    (await lab.device.run('curl', ...curl(path, ...more))).stdout
  /** Pieces as they come. */
  const stream = (path: string, body: object) => {
    const child = lab.device.start('curl', curl(path, '-d', JSON.stringify(body)), { buffer: false })
    const pieces: string[] = []
    child.stdout?.on('data', (chunk: Buffer) => void pieces.push(chunk.toString()))
    const ended = child.then(() => pieces.join(''))
    return { pieces, ended, stop: () => child.kill('SIGKILL') }
  }
  const said = (count: number) => `Say after me: ${'word '.repeat(count)}`
  const chat = (count: number) => ({
    model: 'stand-in',
    messages: [{ role: 'user', content: said(count) }],
  })
  const lenders = async (): Promise<{ readonly name: string; readonly connected: boolean }[]> => {
    // As the admin's device, without a key.
    const ca = join(gateway.state, 'certs', 'root.crt')
    const address = `${gateway.origins[0]}/sotto/admin/lenders`
    const { stdout } = await lab.device.run('curl', '-sS', '--cacert', ca, address)
    return JSON.parse(stdout).lenders
  }
  const rule = (...words: readonly string[]) =>
    lab.neighbour.run('nft', 'add', 'rule', 'ip', 'path', 'c', ...words)
  const openPath = () => lab.neighbour.run('nft', 'flush', 'chain', 'ip', 'path', 'c')
  const connected = () => expect.poll(() => lender.status().state, { timeout: 60_000 }).toBe('connected')

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    folder = await temporaryDirectory()
    closers.push(folder.remove)
    const config = join(folder.path, 'config.yaml')
    await writeFile(config, `tunnel: { listen: "0.0.0.0:8444", names: ["${lab.hub.address4}"] }\n`)
    const state = join(folder.path, 'state')
    gateway = await startGateway(
      lab.hub,
      state,
      '--endpoint',
      lab.hub.address4,
      '--config',
      config,
      '--ollama',
      'http://127.0.0.1:9',
    )
    closers.push(() => gateway.stop())
    await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '')
    const made = await run('key', 'add', 'rig', '--services', 'lend,chat,embeddings,transcription,probe')
    ;({ secret: key } = made)
    ;({ person } = made.key)
    const chain = '{ type filter hook output priority 0; }'
    await lab.neighbour.run('sh', '-c', `nft add table ip path; nft 'add chain ip path c ${chain}'`)
    const ollama = await startStandIn(lab.neighbour, 'ollama')
    const whisper = await startStandIn(lab.neighbour, 'whisper')
    closers.push(ollama.stop, whisper.stop, await startService(lab.neighbour, 9_700))
    options = [
      '--to',
      `https://${lab.hub.address4}:8444`,
      '--ca',
      join(state, 'certs', 'tunnel.crt'),
      '--ollama',
      ollama.url,
      '--whisper',
      whisper.url,
      '--service',
      'probe=http://127.0.0.1:9700/*',
      '--name',
      'rig',
      '--parallel',
      '128',
    ]
    lender = await startLender(lab.neighbour, key, ...options)
    closers.push(() => lender.stop())
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it('shows the admin from where it came, what it lends and on what hardware', async () => {
    await expect.poll(async () => (await lenders()).length, { timeout: 10_000 }).toBe(1)
    expect(await lenders()).toMatchObject([
      {
        name: 'rig',
        person,
        key: 'rig',
        connected: true,
        address: lab.neighbour.address4,
        services: ['ollama', 'whisper', 'probe'],
        models: ['stand-in:latest'],
        hardware: { cpu: { cores: expect.any(Number) }, memoryBytes: expect.any(Number) },
      },
    ])
    const { requests } = await run('audit', '--key', 'rig')
    expect(requests).toContainEqual(expect.objectContaining({ status: 101, address: lab.neighbour.address4 }))
  })

  it.each([
    ['/api/chat', '"done":true'],
    ['/v1/chat/completions', 'data: [DONE]'],
    ['/v1/messages', 'event: message_stop'],
  ])('streams %s as it is made, by its place in the pool and by its name', async (path, end) => {
    for (const place of ['', `/users/${person}/rig`]) {
      const { ended, pieces } = stream(place + path, { ...chat(20), stream: true, max_tokens: 100 })
      expect(await ended).toContain(end)
      expect(pieces.join('').match(/word/g)?.length).toBeGreaterThanOrEqual(20)
      // Its words are 15 ms apart: what was gathered on the way would come at once.
      expect(pieces.length).toBeGreaterThan(5)
    }
  })

  it('hears a recording, and gives sound back byte by byte', async () => {
    const file = join(folder.path, 'said.wav')
    const [sentence] = sentences
    await recording(sentence, file)
    for (const place of ['', `/users/${person}/rig`])
      expect(JSON.parse(await ask(`${place}/v1/audio/transcriptions`, '-F', `file=@${file}`)).text).toContain(
        sentence,
      )
    const back = join(folder.path, 'back.wav')
    await ask(
      `/users/${person}/rig/services/probe/echo`,
      '-H',
      'content-type: audio/wav',
      '--data-binary',
      `@${file}`,
      '-o',
      back,
    )
    expect((await readFile(back)).equals(await readFile(file))).toBe(true)
  })

  it('stops its engine when the client leaves', async () => {
    const { pieces, stop, ended } = stream('/api/chat', chat(2_000))
    await expect.poll(() => pieces.length, { timeout: 20_000 }).toBeGreaterThan(3)
    await expect.poll(() => lender.status().running).toBe(1)
    stop()
    await ended.catch(() => {})
    await expect.poll(() => lender.status().running, { timeout: 10_000 }).toBe(0)
  })

  it('reads for ninety-nine while one does not', async () => {
    const script = `
      const { readFileSync } = require('fs')
      const ask = (path, body) => fetch(${JSON.stringify(gateway.origins[0])} + path, {
        method: 'POST', headers: { authorization: 'Bearer ' + process.env.SOTTO_KEY }, body })
      const chat = ${JSON.stringify(JSON.stringify(chat(10)))}
      ;(async () => {
        const stalled = await ask('/users/${person}/rig/services/probe/big', 'x')
        const rest = await Promise.all(Array.from({ length: 99 }, async () => (await ask('/api/chat', chat)).text()))
        const whole = rest.filter((text) => text.includes('"done":true')).length
        const bytes = (await stalled.arrayBuffer()).byteLength
        console.log(JSON.stringify({ whole, bytes }))
      })()`
    const { stdout } = await lab.device.start(process.execPath, ['-e', script], {
      env: { SOTTO_KEY: key, NODE_EXTRA_CA_CERTS: join(gateway.state, 'certs', 'root.crt') },
    })
    expect(JSON.parse(String(stdout))).toEqual({ whole: 99, bytes: bigBytes })
  })

  it('goes on over a slow line, and is not taken for dead', async () => {
    await rule('ip', 'daddr', lab.hub.address4, 'limit', 'rate', 'over', '200', 'kbytes/second', 'drop')
    const [much, back] = ['much', 'much.back'].map((name) => join(folder.path, name)) as [string, string]
    await writeFile(much, randomBytes(1_000_000))
    const long = ask(
      `/users/${person}/rig/services/probe/echo`,
      '-H',
      'content-type: application/octet-stream',
      '--data-binary',
      `@${much}`,
      '-o',
      back,
    )
    await expect.poll(() => lender.status().running, { timeout: 10_000 }).toBe(1)
    const { ended } = stream('/api/chat', chat(20))
    expect(await ended).toContain('"done":true')
    // The word did not wait for the rest of what is long.
    expect(lender.status().running).toBeGreaterThan(0)
    await long
    expect((await readFile(back)).equals(await readFile(much))).toBe(true)
    expect(lender.status()).toMatchObject({ state: 'connected', lastError: null })
    await openPath()
  })

  it('whose packets are lost is found within seconds: what is in flight fails in its dialect', async () => {
    const native = stream('/api/chat', chat(2_000))
    const openAi = stream('/v1/chat/completions', { ...chat(2_000), stream: true })
    for (const { pieces } of [native, openAi])
      await expect.poll(() => pieces.length, { timeout: 20_000 }).toBeGreaterThan(3)
    await rule('ip', 'daddr', lab.hub.address4, 'drop')
    expect(await native.ended).toMatch(/\{"error":"The engine broke off[^\n]*\n$/)
    expect(await openAi.ended).toMatch(/data: \{"error":\{"message":"The engine broke off[^\n]*\n\n$/)
    expect(await ask(`/users/${person}/rig/api/chat`, '-d', JSON.stringify(chat(1)))).toContain(
      'User Hardware is offline.',
    )
    expect(await lenders()).toMatchObject([{ name: 'rig', connected: false }])
    await expect.poll(() => lender.status().state, { timeout: 20_000 }).not.toBe('connected')
    await openPath()
    await connected()
    await expect.poll(async () => (await lenders())[0]?.connected).toBe(true)
  })

  it('comes again by itself when its link was down', async () => {
    await lab.neighbour.run('ip', 'link', 'set', 'eth0', 'down')
    await expect.poll(() => lender.status().state, { timeout: 30_000 }).not.toBe('connected')
    await lab.neighbour.run('ip', 'link', 'set', 'eth0', 'up')
    await connected()
    await expect.poll(() => ask('/api/tags')).toContain('stand-in')
  })

  it('by the overlay, too: what one of two can no more, the other does', async () => {
    const host: Host = await lab.addHost('lend')
    const { config } = await run('device', 'add', 'lend')
    await joinOverlay(host, folder.path, config, 'lend')
    const ollama = await startStandIn(host, 'ollama')
    closers.push(ollama.stop)
    const second = await startLender(
      host,
      key,
      '--to',
      gateway.origins[0] ?? '',
      '--ca',
      join(gateway.state, 'certs', 'root.crt'),
      '--ollama',
      ollama.url,
      '--name',
      'second',
    )
    closers.push(second.stop)
    await expect
      .poll(async () => (await lenders()).map((one) => [one.name, one.connected]), { timeout: 10_000 })
      .toEqual([
        ['rig', true],
        ['second', true],
      ])
    await lender.kill()
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => ask('/api/chat', '-d', JSON.stringify(chat(3)))),
    )
    for (const answer of answers) expect(answer).toContain('"done":true')
    lender = await startLender(lab.neighbour, key, ...options)
  })

  it('is all that the public listener answers: everything else is 404 without a word', async () => {
    const ca = join(gateway.state, 'certs', 'tunnel.crt')
    const get = async (path: string, ...more: readonly string[]) => {
      const address = `https://${lab.hub.address4}:8444${path}`
      const { stdout } = await lab.neighbour.run(
        'curl',
        '-sS',
        '--http1.1',
        '--max-time',
        '5',
        '--cacert',
        ca,
        '-w',
        '%{http_code}',
        ...more,
        address,
      )
      return stdout
    }
    const upgrade = [
      '-H',
      'Connection: Upgrade',
      '-H',
      'Upgrade: websocket',
      '-H',
      'Sec-WebSocket-Version: 13',
      '-H',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      '-H',
      'Sec-WebSocket-Protocol: sotto-tunnel.1',
    ]
    for (const path of ['/', '/healthz', '/api/tags', '/tunnel', '/sotto/admin/lenders'])
      expect(await get(path, '-H', `Authorization: Bearer ${key}`), path).toBe('404')
    expect(await get('/tunnel?name=rig', ...upgrade)).toBe('404')
    expect(await get('/v1/realtime', ...upgrade, '-H', `Authorization: Bearer ${key}`)).toBe('404')
    expect(await get('/tunnel?name=rig', ...upgrade, '-H', 'Authorization: Bearer sk-sotto-x')).toMatch(
      /401$/,
    )
  })
})
