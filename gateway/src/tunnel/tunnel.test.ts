/** A lender and a gateway over a real socket on loopback; `test/lend.test.ts` has them in networks of their own. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { serveApi, type ServeOptions } from '#api/serve.fixture.ts'
import { json, ndjson, serve, serveOllama, type Call } from '#engines/upstream.fixture.ts'
import { createBackoff } from './backoff.ts'
import { lend, type LenderOptions, type RunningLender } from './lender.ts'
import type { Offer } from './offer.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const hardware: Offer['hardware'] = {
  system: 'Linux',
  cpu: { model: 'test', cores: 2 },
  memoryBytes: 1,
  gpus: [],
}
const lends = { services: ['lend', 'chat', 'embeddings', 'transcription', 'echo'] }

async function open(options: ServeOptions = {}) {
  const api = await serveApi({ lookEveryMs: 100, keys: { rig: lends }, ...options })
  closers.push(api.close)
  const start = (
    wish: Partial<LenderOptions> & { readonly ollama?: string; readonly secret?: string } = {},
  ): RunningLender => {
    const lending = wish.lending ?? {
      services: [],
      ...(wish.ollama !== undefined && { ollama: wish.ollama }),
    }
    const lender = lend({
      to: api.url,
      key: wish.secret ?? api.secrets.rig ?? '',
      name: 'rig',
      backoff: createBackoff(() => 0),
      ...wish,
      lending,
      offer: {
        version: '1',
        ollama: lending.ollama !== undefined,
        whisper: lending.whisper !== undefined,
        services: lending.services.map(({ name }) => name),
        parallel: 64,
        hardware,
      },
    })
    closers.push(lender.close)
    return lender
  }
  const lent = async (count = 1) => expect.poll(() => api.hub.all.length).toBe(count)
  const ask = (path: string, init: Omit<RequestInit, 'headers'> = {}) =>
    fetch(api.url + path, {
      method: 'POST',
      ...init,
      headers: { authorization: `Bearer ${api.secrets.rig}` },
    })
  return { ...api, start, lent, ask }
}

const hi = ({ response }: Call) => json(response, 200, { message: { content: 'Hi' }, done: true })
const chat = { body: '{"model":"tiny","stream":false}' }

/** A path between the lender and the gateway that the test can cut, or stop without a word. */
async function openPath(to: string) {
  const pairs = new Set<readonly [Socket, Socket]>()
  let dead = false
  const server = createTcpServer((near) => {
    const far = connect(Number(new URL(to).port), '127.0.0.1')
    const pair = [near, far] as const
    pairs.add(pair)
    // The gateway answers to its own Host alone.
    near.once('data', (chunk: Buffer) => {
      const host = `127.0.0.1:${port()}`
      far.write(chunk.toString('latin1').replace(host, new URL(to).host), 'latin1')
      near.on('data', (more) => void (dead || far.write(more)))
    })
    far.on('data', (chunk) => void (dead || near.write(chunk)))
    for (const [one, other] of [pair, pair.toReversed()]) {
      one?.on('error', () => {})
      one?.on('close', () => dead || other?.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const port = (): number => {
    const address = server.address()
    return typeof address === 'object' && address ? address.port : 0
  }
  const end = () => pairs.forEach((pair) => pair.forEach((socket) => socket.destroy()))
  closers.push(() => {
    end()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${port()}`,
    cut: end,
    drop: () => {
      dead = true
    },
  }
}

describe('a model that is lent', () => {
  it('is listed and answers as any other, with the lender in the record', async () => {
    const ollama = await serveOllama(hi)
    closers.push(ollama.close)
    const { start, lent, ask, rows, url } = await open()
    start({ ollama: ollama.url })
    await lent()
    const tags = await fetch(`${url}/api/tags`)
    expect(await tags.json()).toMatchObject({ models: [{ name: 'tiny:latest' }] })
    const answer = await ask('/api/chat', chat)
    expect(await answer.json()).toMatchObject({ message: { content: 'Hi' } })
    expect(await rows('audit')).toContainEqual(
      expect.objectContaining({ path: '/api/chat', backend: 'ada/rig', status: 200 }),
    )
    expect(await rows('audit')).toContainEqual(
      expect.objectContaining({
        path: '/tunnel',
        status: 101,
        address: '127.0.0.1',
        key: 'rig',
        backend: 'ada/rig',
      }),
    )
  })

  it('streams piece by piece (defect 0.3 b: stream was forced to false)', async () => {
    const written: ((piece: object) => void)[] = []
    const ends: (() => void)[] = []
    const ollama = await serveOllama(({ response }) => {
      written.push(ndjson(response))
      ends.push(() => response.end())
    })
    closers.push(ollama.close)
    const { start, lent, ask } = await open()
    start({ ollama: ollama.url })
    await lent()
    const answer = ask('/users/ada/rig/api/chat', { body: '{"model":"tiny"}' })
    await expect.poll(() => written.length).toBe(1)
    written[0]!({ message: { content: 'one' }, done: false })
    const reader = (await answer).body!.getReader()
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toContain('"one"')
    written[0]!({ message: { content: 'two' }, done: true })
    ends[0]!()
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toContain('"two"')
    expect((await reader.read()).done).toBe(true)
  })

  it('is told that its client left (defect 0.3 h)', async () => {
    let gone = false
    const ollama = await serveOllama(({ response }) => {
      ndjson(response)({ message: { content: 'on and on' }, done: false })
      response.once('close', () => {
        gone = true
      })
    })
    closers.push(ollama.close)
    const { start, lent, ask } = await open()
    start({ ollama: ollama.url })
    await lent()
    const stop = new AbortController()
    const answer = await ask('/api/chat', { body: '{"model":"tiny"}', signal: stop.signal })
    await answer.body!.getReader().read()
    stop.abort()
    await expect.poll(() => gone).toBe(true)
  })

  it('goes elsewhere where the lender’s engine is gone, before the first byte', async () => {
    const lentOllama = await serveOllama(({ response }) => response.destroy())
    const own = await serveOllama(hi)
    closers.push(lentOllama.close, own.close)
    const { start, lent, ask } = await open({ ollama: own.url })
    start({ ollama: lentOllama.url })
    await lent()
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask('/api/chat', chat)))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200))
  })
})

describe('a path that is lost', () => {
  it('fails what is in flight at once, in the dialect’s words, and is taken up again (defect 0.3 e)', async () => {
    const ollama = await serveOllama(({ response, request }) => {
      if (request.url === '/v1/chat/completions') {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write('data: {"choices":[{"delta":{"content":"half"}}]}\n\n')
      } else ndjson(response)({ message: { content: 'half' }, done: false })
    })
    closers.push(ollama.close)
    const { lent, ask, hub, ...served } = await open()
    const path = await openPath(served.url)
    const lender = served.start({ to: path.url, ollama: ollama.url })
    await lent()
    const [before] = hub.all
    const native = (await ask('/api/chat', { body: '{"model":"tiny"}' })).text()
    const openAi = (await ask('/v1/chat/completions', { body: '{"model":"tiny","stream":true}' })).text()
    await expect.poll(() => lender.status.running).toBe(2)
    path.cut()
    expect(await native).toMatch(/\{"error":"The engine broke off before its answer was whole\."\}\n$/)
    expect(await openAi).toContain('data: {"error":{"message":"The engine broke off')
    await expect.poll(() => hub.all.length === 1 && hub.all[0] !== before).toBe(true)
  })

  it('is found by pings where nothing says so: half-open (defect 0.3 i: no ping from the server)', async () => {
    const ollama = await serveOllama(({ response }) => {
      ndjson(response)({ message: { content: 'half' }, done: false })
    })
    closers.push(ollama.close)
    const served = await open({ pingEveryMs: 50 })
    const path = await openPath(served.url)
    const lender = served.start({ to: path.url, ollama: ollama.url, pingEveryMs: 50 })
    await served.lent()
    const answer = (await served.ask('/api/chat', { body: '{"model":"tiny"}' })).text()
    await expect.poll(() => lender.status.running).toBe(1)
    path.drop()
    expect(await answer).toContain('broke off')
    await served.lent(0)
    // The lender finds it, too, and stops the work.
    await expect.poll(() => [lender.status.state, lender.status.running]).not.toEqual(['connected', 1])
  })

  it('is dialled anew, and the lender is there again', async () => {
    const ollama = await serveOllama(hi)
    closers.push(ollama.close)
    const served = await open()
    const path = await openPath(served.url)
    const lender = served.start({ to: path.url, ollama: ollama.url })
    await served.lent()
    const [before] = served.hub.all
    path.cut()
    await expect.poll(() => served.hub.all.length === 1 && served.hub.all[0] !== before).toBe(true)
    expect((await served.ask('/users/ada/rig/api/chat', chat)).status).toBe(200)
    expect(lender.status.state).toBe('connected')
  })
})

describe('a lender that comes again', () => {
  it('has its place, and its old connection’s end does not take it away (defect 0.3 d)', async () => {
    const ollama = await serveOllama(hi)
    closers.push(ollama.close)
    const { start, lent, ask, hub } = await open()
    const old = start({ ollama: ollama.url })
    await lent()
    const [first] = hub.all
    const fresh = start({ ollama: ollama.url })
    await expect.poll(() => hub.all.length === 1 && hub.all[0] !== first).toBe(true)
    await expect.poll(() => old.status.lastError).toMatch(/Another connection lends/)
    await old.close()
    expect(hub.all).toHaveLength(1)
    expect(fresh.status.state).toBe('connected')
    expect((await ask('/users/ada/rig/api/chat', chat)).status).toBe(200)
  })
})

describe('who may lend', () => {
  const dial = (url: string, headers: Record<string, string>, path = '/tunnel?name=rig') =>
    new Promise<number>((settle) => {
      const socket = new WebSocket(url.replace('http', 'ws') + path, 'sotto-tunnel.1', { headers })
      socket.once('unexpected-response', (_request, { statusCode = 0 }) => {
        settle(statusCode)
        socket.terminate()
      })
      socket.once('open', () => {
        settle(101)
        socket.terminate()
      })
      socket.on('error', () => {})
    })

  it('is a key whose services say so, and no other (fail closed)', async () => {
    const { secrets, url, rows } = await open({
      keys: { rig: lends, all: {}, chat: { services: ['chat'] }, off: { services: [] } },
    })
    const bearer = (name: string) => ({ authorization: `Bearer ${secrets[name]}` })
    expect(await dial(url, {})).toBe(401)
    expect(await dial(url, bearer('all'))).toBe(403)
    expect(await dial(url, bearer('chat'))).toBe(403)
    expect(await dial(url, bearer('off'))).toBe(403)
    expect(await dial(url, { ...bearer('rig'), origin: url })).toBe(403)
    expect(await dial(url, bearer('rig'), '/tunnel?name=Not%20a%20name')).toBe(400)
    expect(await dial(url, bearer('rig'))).toBe(101)
    expect(await rows('audit')).toContainEqual(
      expect.objectContaining({ path: '/tunnel', status: 403, refusal: 'forbidden' }),
    )
  })

  it('is not a tenant that is held to other services', async () => {
    const { secrets, url } = await open({ keys: { rig: lends }, tenant: { services: ['chat'] } })
    expect(await dial(url, { authorization: `Bearer ${secrets.rig}` })).toBe(403)
  })

  it('says its key in a header alone (defect 0.3 f: the key stood in the address, and so in logs)', async () => {
    const { secrets, url, rows } = await open()
    expect(await dial(url, {}, `/tunnel?name=rig&key=${secrets.rig}`)).toBe(400)
    expect(JSON.stringify(await rows('audit'))).not.toContain(secrets.rig)
  })

  it('is told why not, and does not go on dialling (defect 0.3 g is the keyring’s: no key is compared as text)', async () => {
    const { start, secrets } = await open({ keys: { rig: lends, all: {} } })
    await expect(start({ secret: secrets.all ?? '' }).connected).rejects.toMatchObject({
      code: 'lend_refused',
      message: expect.stringContaining('may not lend'),
      remedy: expect.stringContaining('--services lend'),
    })
  })

  it('ends with its key, at once', async () => {
    const { start, lent, hub, update } = await open()
    const lender = start()
    await lent()
    update((access) => ({ ...access, keys: [] }))
    await expect.poll(() => hub.all).toEqual([])
    await expect.poll(() => lender.status.lastError).not.toBeNull()
  })
})

describe('/users/:username/:clientid', () => {
  it('answers in the words of the seed’s relay', async () => {
    const { start, lent, ask, url } = await open()
    const lender = start()
    await lent()
    const error = async (answer: Promise<Response>) => {
      const refused = await answer
      const { error: said } = (await refused.json()) as { error: unknown }
      return [refused.status, said]
    }
    const path = '/users/ada/rig/api/chat'
    expect(await error(fetch(url + path, { method: 'POST', ...chat }))).toEqual([401, 'Invalid API Key'])
    expect(await error(ask('/users/bob/rig/api/chat', chat))).toEqual([404, 'User not found'])
    expect(await error(ask('/users/ada/none/api/chat', chat))).toEqual([404, 'Client Endpoint not found'])
    await lender.close()
    await lent(0)
    expect(await error(ask(path, chat))).toEqual([502, 'User Hardware is offline.'])
    expect(await error(ask('/users/ada/rig/v1/chat/completions', chat))).toEqual([
      502,
      expect.objectContaining({ message: 'User Hardware is offline.' }),
    ])
  })

  it('is held to the key’s services, and to inference (defect 0.3 a: the key could DELETE /api/delete)', async () => {
    const ollama = await serveOllama(hi)
    closers.push(ollama.close)
    const { start, lent, ask } = await open({ keys: { rig: { services: ['lend'] } } })
    start({ ollama: ollama.url })
    await lent()
    expect((await ask('/users/ada/rig/api/chat', chat)).status).toBe(403)
    for (const [method, path] of [
      ['DELETE', '/api/delete'],
      ['POST', '/api/pull'],
      ['POST', '/api/blobs/sha256:00'],
    ] as const)
      expect((await ask(`/users/ada/rig${path}`, { method })).status, path).toBe(403)
    expect(ollama.calls).toEqual([])
  })

  it('passes bytes both ways, the query and the type of the answer (defect 0.3 b: no binary, query dropped)', async () => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, at) => at % 256))
    const echo = await serve(({ body, response, request }) => {
      response.writeHead(200, { 'content-type': 'audio/wav', 'x-query': request.url ?? '' })
      response.end(request.url === '/say?voice=a' ? body : 'no query')
    })
    closers.push(echo.close)
    const { start, lent, ask } = await open()
    start({ lending: { services: [{ name: 'echo', url: `${echo.url}/say` }] } })
    await lent()
    const answer = await ask('/users/ada/rig/services/echo/say?voice=a', { body: bytes })
    expect(answer.headers.get('content-type')).toBe('audio/wav')
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true)
    expect((await ask('/users/ada/rig/services/other/say', { body: 'x' })).status).toBe(404)
    expect((await ask('/users/ada/rig/services/echo/elsewhere', { body: 'x' })).status).toBe(404)
  })

  it('holds up nobody where one of a hundred does not read', async () => {
    const piece = Buffer.alloc(64 * 1024, 'x')
    let sent = 0
    const big = await serve(({ request, response }) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      if (request.url !== '/big') return response.end('small')
      const go = (): void => {
        while (sent < 400 * piece.length) {
          sent += piece.length
          if (!response.write(piece)) return void response.once('drain', go)
        }
        response.end()
      }
      return go()
    })
    closers.push(big.close)
    const { start, lent, ask } = await open()
    start({ lending: { services: [{ name: 'echo', url: `${big.url}/*` }] } })
    await lent()
    const stalled = await ask('/users/ada/rig/services/echo/big', { body: 'x' })
    // It is stalled where as much as fits on the way is on it, and the rest is not made.
    await expect
      .poll(async () => {
        const before = sent
        await ask('/users/ada/rig/services/echo/small', { body: 'x' })
        return sent === before
      })
      .toBe(true)
    expect(sent).toBeLessThan(400 * piece.length)
    const others = await Promise.all(
      Array.from({ length: 99 }, async () =>
        (await ask('/users/ada/rig/services/echo/small', { body: 'x' })).text(),
      ),
    )
    expect(new Set(others)).toEqual(new Set(['small']))
    expect((await stalled.arrayBuffer()).byteLength).toBe(400 * piece.length)
  })
})

describe('a gateway that is no gateway', () => {
  it('does not get the key again from a redirect', async () => {
    const seen: string[] = []
    const server = createServer().on('upgrade', (request, socket) => {
      seen.push(request.url ?? '')
      socket.end('HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nConnection: close\r\n\r\n')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    closers.push(() => server.close())
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const { start } = await open()
    await expect(start({ to: `http://127.0.0.1:${port}` }).connected).rejects.toThrow('302')
    expect(seen).toEqual(['/tunnel?name=rig'])
  })
})
