/** Joins another's relay: by an invitation of a gateway of our kind, or with what any other relay gave us. */
import { randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto'
import type { Database } from '@sotto/provisioning/database.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { beginJoin, endJoin, giveUpJoin, ownMeshId } from '@sotto/provisioning/registry/friend.ts'
import { Agent, request } from 'undici'
import { z } from 'zod'
import { parseJson } from '#engines/json.ts'
import { relayPath } from './frames.ts'
import { fingerprintOf, noCode, readInvitationCode } from './invitation.ts'

export interface JoinWish {
  /** `wss://host:port`, with or without `/gateway`. */
  readonly url: string
  /** What we will call it. */
  readonly name: string
  /** An invitation; with `meshId`, the secret that goes with it. */
  readonly code: string
  /** By which a relay of another kind knows us already. */
  readonly meshId?: string
}

export interface Joined {
  readonly name: string
  readonly url: string
  /** Null where the relay is no gateway itself. */
  readonly meshId: string | null
}

const answerMs = 20_000
const largestAnswer = 64 * 1024
const registered = z.object({
  ok: z.literal(true),
  sotto: z.object({ meshId: z.string().min(1).max(200), name: z.string().max(200) }),
})
const refused = z.object({ error: z.string() })

/** Throws a `Problem`; then nothing is kept, save where its answer was lost: the same invitation goes on. */
export async function joinRelay(database: Database, wish: JoinWish): Promise<Joined> {
  const url = relayUrl(wish.url, wish.meshId !== undefined)
  if (wish.meshId !== undefined) return joinOther(database, { ...wish, url, meshId: wish.meshId })
  const invitation = readInvitationCode(wish.code)
  if (!invitation) throw noCode()
  const ca = await fetchAuthority(url, invitation.fingerprints)
  const place = { name: wish.name, url, ca, fingerprint: new X509Certificate(ca).fingerprint256 }
  const made = randomBytes(32).toString('base64url')
  const own = await beginJoin(database, place, { meshId: await ownMeshId(database), secret: made })
  const answer = await post(url, ca, {
    ...own,
    name: wish.name,
    invitation: invitation.token,
    sotto: { v: 1 },
  })
  const read = registered.safeParse(parseJson(answer.text))
  if (answer.status === 200 && read.success) {
    await endJoin(database, wish.name, read.data.sotto.meshId)
    return { name: wish.name, url, meshId: read.data.sotto.meshId }
  }
  // Whatever else it said, it may have let us in.
  if (answer.status >= 400 && answer.status < 500) await giveUpJoin(database, wish.name)
  const said = refused.safeParse(parseJson(answer.text))
  throw new Problem(
    'join_refused',
    said.success ? said.data.error : `The gateway at ${url} answered ${answer.status}.`,
    'Ask its admin for another invitation: ./sotto federation invite NAME',
  )
}

/** A relay of another kind: it knows us, and this machine's own store decides whether it is the one. */
async function joinOther(
  database: Database,
  { url, name, code, meshId }: Required<JoinWish>,
): Promise<Joined> {
  const secret = code.trim()
  if (secret === '')
    throw new Problem('join_secret', 'The relay’s secret is missing.', 'Paste it when asked.')
  await beginJoin(database, { name, url, ca: undefined, fingerprint: undefined }, { meshId, secret })
  await endJoin(database, name, url)
  return { name, url, meshId: null }
}

/** Throws a `Problem` for what is no address of a relay. */
function relayUrl(text: string, plainOnLoopback: boolean): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const secure = url && ['https:', 'wss:'].includes(url.protocol)
  const near =
    url && ['http:', 'ws:'].includes(url.protocol) && /^(?:localhost|127\.|\[::1\])/.test(url.hostname)
  if (!url || url.username !== '' || url.search !== '' || !(secure || (plainOnLoopback && near)))
    throw new Problem(
      'join_url',
      `“${text}” is no address of a relay.`,
      'For example: wss://home.example:8444',
    )
  return `${secure ? 'wss' : 'ws'}://${url.host}${relayPath}`
}

/**
 * What is fetched here is believed only where its fingerprint is one of the invitation's; nothing is sent that says
 * anything of us.
 */
async function fetchAuthority(url: string, fingerprints: readonly Buffer[]): Promise<string> {
  const { status, text } = await call(url, '/ca.crt', { rejectUnauthorized: false })
  const found = (text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? []).find(
    (pem) => {
      const print = fingerprintIf(pem)
      return print && fingerprints.some((one) => timingSafeEqual(one, print))
    },
  )
  if (status === 200 && found !== undefined) return found
  throw new Problem(
    'join_untrusted',
    `What answers at ${url} is not the gateway that the invitation is from.`,
    'Check the address with whoever invited you, and whether its relay is open to where you are.',
  )
}

function fingerprintIf(pem: string): Buffer | undefined {
  try {
    return fingerprintOf(pem)
  } catch {
    return undefined
  }
}

function post(url: string, ca: string, body: object) {
  return call(url, '/register', { ca }, JSON.stringify(body))
}

async function call(
  url: string,
  path: string,
  connect: { readonly ca: string } | { readonly rejectUnauthorized: false },
  body?: string,
): Promise<{ readonly status: number; readonly text: string }> {
  const agent = new Agent({ connect, maxResponseSize: largestAnswer })
  const { origin } = new URL(url.replace(/^ws/, 'http'))
  try {
    const answer = await request(`${origin}${path}`, {
      dispatcher: agent,
      method: body === undefined ? 'GET' : 'POST',
      ...(body !== undefined && { body, headers: { 'content-type': 'application/json' } }),
      signal: AbortSignal.timeout(answerMs),
    })
    return { status: answer.statusCode, text: await answer.body.text() }
  } catch (error) {
    throw new Problem(
      'join_unreachable',
      `${origin} can’t be reached (${error instanceof Error && 'code' in error ? String(error.code) : 'no answer'}).`,
      'Check the address, and that the gateway there is up.',
      error,
    )
  } finally {
    await agent.destroy()
  }
}
