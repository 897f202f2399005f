/** The way into `/v1/realtime`: who may open a socket, and which protocol it speaks. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Logger } from 'pino'
import { WebSocketServer } from 'ws'
import type { Admission } from '#admission/admission.ts'
import { errorHeaders, openAiDialect, statusOf } from '#api/envelope.ts'
import type { Conversations } from '#conversations/conversations.ts'
import type { Thread } from '#conversations/live.ts'
import type { Engines } from '#engines/engine.ts'
import type { Speech } from '#engines/speech.ts'
import { ownerOf, type Member } from '#identity/caller.ts'
import { identify, type Identity } from '#identity/identify.ts'
import { nextRequestId, write, type Recorder } from '#ledger/record.ts'
import { checkOrigin, type OwnNames } from '#listener/origin.ts'
import { refuseUpgrade } from '#listener/refuse-upgrade.ts'
import { subprotocol } from '#protocol/frame.ts'
import { asFailure, Failure } from '../failure.ts'
import { openSession } from './session.ts'
import { createSessions } from './sessions.ts'
import type { VoiceActivity } from './voice-activity.ts'

export interface RealtimeDeps {
  readonly identity: Identity
  readonly admission: Admission
  readonly recorder: Recorder
  readonly engines: Engines
  readonly speech: Speech | undefined
  readonly activity: VoiceActivity
  readonly conversations: Conversations
  names(): OwnNames
  readonly log: Logger
}

/** OpenAI's own limit of one piece of sound, and so more than a picture takes; past it `ws` closes with 1009. */
const maxPayloadBytes = 16 * 1024 * 1024
/** By which OpenAI's clients in a browser say their key. Never told back, never written down. */
const keyProtocol = 'openai-insecure-api-key.'

export interface Realtime {
  /** Handles the `upgrade` event of the server. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Ends all sessions, of clients that are away, too. */
  close(): void
}

export function createRealtime(deps: RealtimeDeps): Realtime {
  const sessions = createSessions()
  const sockets = new WebSocketServer({
    noServer: true,
    // Audio does not deflate, and each deflater costs some 300 KB.
    perMessageDeflate: false,
    maxPayload: maxPayloadBytes,
    handleProtocols: (offered) => [subprotocol, 'realtime'].find((one) => offered.has(one)) ?? false,
  })
  const open = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const verdict = checkOrigin(deps.names(), request.headers.host, request.headers.origin)
    if (!verdict.allow) throw new Failure(verdict.code, verdict.message)
    const protocols = offers(request)
    const headers = withKey(request.headers, protocols)
    const { remoteAddress } = request.socket
    const current = async (): Promise<Member> => {
      const found = await identify(deps.identity, remoteAddress, headers)
      if (found.kind === 'guest')
        throw new Failure('forbidden', 'A one-time link lets a device enrol, and nothing else.')
      return found
    }
    const caller = await current()
    const { pathname, searchParams: query } = new URL(request.url ?? '', 'wss://gateway')
    if (pathname !== '/v1/realtime') throw new Failure('not_found', 'The WebSocket is at /v1/realtime.')
    if (query.has('call_id'))
      throw new Failure('invalid', 'call_id: this gateway has no telephone. Connect with ?model= instead.')
    const known = protocols.filter((one) => one === subprotocol || one === 'realtime')
    if (known.length === 0 && protocols.some((one) => !one.startsWith('openai-')))
      throw new Failure('invalid', `Offer the WebSocket subprotocol realtime or ${subprotocol}.`)
    const ours = protocols.includes(subprotocol)
    const resumed = ours ? sessions.find(query.get('resume') ?? '', caller) : undefined
    if (resumed)
      return sockets.handleUpgrade(request, socket, head, (again) => {
        const received = Number(query.get('received'))
        if (resumed.attach({ socket: again, stream: socket }, Number.isSafeInteger(received) ? received : -1))
          return
        // What it has missed is gone. When it comes again, it begins anew.
        resumed.end()
        again.close(1012, 'Too much was missed: connect again.')
      })
    const items = itemsIn(query)
    // Whether it may talk at all; each answer is admitted by itself.
    const permit = await deps.admission.admit(caller, { service: 'realtime' })
    const closed = (): void => permit.settle({ input: 0, output: 0 })
    let opened = false
    let thread: Thread | undefined
    try {
      thread = ours ? await threadOf(caller, query.get('conversation') ?? undefined) : undefined
      sockets.handleUpgrade(request, socket, head, (accepted) => {
        opened = true
        const session = openSession({
          ...deps,
          wire: { socket: accepted, stream: socket },
          dialect: ours ? 'ours' : 'openai',
          type: query.get('intent') === 'transcription' ? 'transcription' : 'realtime',
          model: query.get('model') ?? undefined,
          caller,
          current,
          address: remoteAddress ?? '',
          thread,
          items,
          closed() {
            forget()
            sessions.remove(session.id)
            closed()
          },
        })
        const forget = deps.recorder.opened({ caller, end: () => session.end() })
        sessions.add(session, caller)
      })
    } finally {
      // A handshake that `ws` refuses by itself, or whose client has gone, is not called back.
      if (!opened) {
        thread?.leave()
        closed()
      }
    }
  }
  const threadOf = (caller: Member, id: string | undefined) =>
    deps.conversations.open(ownerOf(caller), id).catch((error: unknown) => {
      // It was deleted on another device meanwhile: what is said now begins a new one.
      if (asFailure(error).code === 'not_found') return deps.conversations.open(ownerOf(caller))
      throw error
    })
  const upgrade: Realtime['upgrade'] = (request, socket, head) => {
    const at = Date.now()
    socket.on('error', () => socket.destroy())
    open(request, socket, head).catch((error: unknown) => {
      const failure = asFailure(error)
      if (failure.code === 'internal') deps.log.error({ err: failure.cause }, 'a socket could not be opened')
      const status = statusOf(failure)
      write(
        deps.recorder,
        { id: nextRequestId(), caller: undefined, service: 'realtime', refusal: failure.code },
        {
          at,
          address: request.socket.remoteAddress ?? '',
          method: 'WS',
          path: request.url?.split('?')[0] ?? '/',
          status,
          durationMs: Date.now() - at,
          ended: 'whole',
        },
      )
      refuseUpgrade(socket, status, openAiDialect.error(failure, status, ''), errorHeaders(failure))
    })
  }
  return { upgrade, close: () => sessions.end() }
}

/** How many items of a conversation the client wants at first; undefined for all. */
function itemsIn(query: URLSearchParams): number | undefined {
  const text = query.get('items')
  if (text === null) return undefined
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Failure('invalid', 'items: send a number from 1 to 9999.')
  return Number(text)
}

function offers(request: IncomingMessage): string[] {
  return (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '')
}

/** A browser can set no header, so OpenAI's clients there offer their key as a protocol. */
function withKey(headers: IncomingHttpHeaders, protocols: readonly string[]): IncomingHttpHeaders {
  const key = protocols.find((one) => one.startsWith(keyProtocol))?.slice(keyProtocol.length)
  return key === undefined || headers.authorization !== undefined
    ? headers
    : { ...headers, authorization: `Bearer ${key}` }
}
