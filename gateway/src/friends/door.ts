/**
 * What a friend's gateway finds of ours at the other end of its tunnel: what it shares, and inference. Each request
 * goes the way of any other, with the friend as its caller: admission, the engines of the house, a row in the ledger.
 */
import { createServer, request, type IncomingMessage } from 'node:http'
import { duplexPair, type Duplex } from 'node:stream'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { anthropicRoutes } from '#api/anthropic.ts'
import type { ApiDeps } from '#api/inference.ts'
import { ollamaRoutes } from '#api/ollama.ts'
import { openAiElsewhere, openAiRoutes } from '#api/openai.ts'
import { register, type RouteDeps } from '#api/route.ts'
import { parseJson } from '#engines/json.ts'
import type { AppEnv } from '#identity/app-env.ts'
import type { Member } from '#identity/caller.ts'
import { ownNames } from '#listener/origin.ts'
import { requestHead, type AnswerHead, type RequestHead } from '#tunnel/frame.ts'
import type { Stream, StreamEvents } from '#tunnel/mux.ts'
import { mostAtOnce } from './protocol.ts'
import { sharedPath, sharedWith } from './shared.ts'

export interface DoorDeps extends Pick<RouteDeps, 'recorder' | 'log'> {
  /** Over the house's own engines. */
  readonly api: ApiDeps
  /** The friend as a caller, as the registry has it now; undefined for one that is a friend no more. */
  friend(): Member | undefined
}

export interface Door {
  /** @param address from which the tunnel comes, for the records */
  accept(address: string): (json: string, stream: Stream) => StreamEvents
  /** What is shared may have changed: those that follow it are told. */
  changed(): void
  close(): void
}

/** All that a model's API is asked by. */
const methods: ReadonlySet<string> = new Set(['GET', 'POST'])
/** What means something to it; whatever else a friend sends stays there, and a length is counted, not believed. */
const passedOn = ['content-type', 'accept'] as const
const passedBack = ['content-type', 'retry-after', 'x-should-retry'] as const

const host = 'friends.sotto.internal'
/** One for each tunnel that is open, and those that are about to end. */
const mostFollowers = 4

export function createDoor(deps: DoorDeps): Door {
  // It listens nowhere: its connections are made here.
  const server = createServer(getRequestListener(appFor(deps).fetch))
  const followers = new Set<() => void>()
  /** Pipes to the server, a request each. */
  const open = new Set<Duplex>()
  const follow = (stream: Stream): StreamEvents => {
    let told = ''
    let full = false
    const tell = (): void => {
      const friend = deps.friend()
      // Who does not read is told the newest when it does.
      if (!friend || full) return
      const line = JSON.stringify(sharedWith(deps.api.engines, deps.api.admission, friend))
      if (line === told) return
      told = line
      full = !stream.write(Buffer.from(`${line}\n`))
    }
    say(stream, { status: 200, headers: { 'content-type': 'application/x-ndjson' } })
    followers.add(tell)
    tell()
    return {
      data() {},
      end() {},
      reset: () => void followers.delete(tell),
      drain() {
        full = false
        tell()
      },
    }
  }
  return {
    accept: (address) => (json, stream) => {
      const read = requestHead.safeParse(parseJson(json))
      if (!read.success || !isPlain(read.data)) return refuse(stream, 400)
      if (read.data.method === 'GET' && read.data.path === sharedPath && followers.size < mostFollowers)
        return follow(stream)
      if (open.size >= mostAtOnce) return refuse(stream, 503)
      const [here, there] = duplexPair()
      open.add(here)
      // As sockets, neither outlives the other.
      here.once('close', () => {
        open.delete(here)
        there.destroy()
      })
      there.once('close', () => here.destroy())
      server.emit('connection', Object.assign(there, { remoteAddress: address }))
      return pass(here, read.data, stream)
    },
    changed() {
      for (const tell of followers) tell()
    },
    close: () => void server.close(),
  }
}

const nothing: StreamEvents = { data() {}, end() {}, reset() {} }

function appFor({ api, friend, recorder, log }: DoorDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  const names = ownNames([host], 443)
  const models = [...openAiRoutes(api), ...anthropicRoutes(api)]
  register(app, [...models, ...ollamaRoutes(api), openAiElsewhere(models)], {
    // Whoever holds the tunnel is the friend: a key that it sends makes it nobody else.
    identity: { directory: { identify: friend }, keyring: { identify: (member) => member } },
    names: () => names,
    recorder,
    log,
  })
  return app
}

function say(stream: Stream, head: AnswerHead): void {
  stream.head(JSON.stringify(head))
}

function refuse(stream: Stream, status: 400 | 503): StreamEvents {
  say(stream, { status, headers: status === 503 ? { 'retry-after': '1' } : {} })
  stream.end()
  return nothing
}

/** Whether it can be written down as HTTP: what can't throws where nobody would catch it. */
function isPlain({ method, path }: RequestHead): boolean {
  return methods.has(method) && /^[\x21-\x7e]+$/.test(path)
}

/** One request, as HTTP over a pipe to the server here. */
function pass(pipe: Duplex, head: RequestHead, stream: Stream): StreamEvents {
  let answer: IncomingMessage | undefined
  let used = 0
  const asked = request({
    createConnection: () => pipe,
    method: head.method,
    path: head.path,
    headers: { ...only(passedOn, head.headers), host, connection: 'close' },
  })
  asked.once('response', (response) => {
    answer = response
    say(stream, { status: response.statusCode ?? 502, headers: only(passedBack, response.headers) })
    response.on('data', (chunk: Buffer) => {
      if (!stream.write(chunk)) response.pause()
    })
    response.once('end', () => stream.end())
    response.on('error', (error) => stream.reset(error.message))
  })
  asked.on('error', () => stream.reset('broken off'))
  asked.on('drain', () => {
    stream.consumed(used)
    used = 0
  })
  if (!head.body) asked.end()
  return {
    data(chunk) {
      used += chunk.length
      // Until it is written there is no credit for more.
      if (asked.write(chunk)) {
        stream.consumed(used)
        used = 0
      }
    },
    end: () => void asked.end(),
    reset: () => void asked.destroy(),
    drain: () => void answer?.resume(),
  }
}

function only(
  names: readonly string[],
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = headers[name]
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
}
