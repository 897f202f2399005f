/** Who is asking, from an address and what came with the request. Nothing else in the gateway asks that. */
import type { IncomingHttpHeaders } from 'node:http'
import { homeTenant } from '@sotto/provisioning/registry/tenant.ts'
import { Failure } from '../failure.ts'
import type { Caller, Member } from './caller.ts'
import type { Directory } from './directory.ts'
import type { Keyring } from './keyring.ts'

export interface Identity {
  readonly directory: Pick<Directory, 'identify'>
  readonly keyring: Pick<Keyring, 'identify'>
}

/** Throws a `Failure`; gives no promise where none is needed. */
export function identify(
  { directory, keyring }: Identity,
  remoteAddress: string | undefined,
  headers: IncomingHttpHeaders,
): Caller | Promise<Caller> {
  const caller = directory.identify(remoteAddress)
  if (!caller || remoteAddress === undefined)
    throw new Failure('forbidden', 'This address is no device of this network.')
  if (caller.kind === 'guest') return caller
  if (caller.tenant.disabledAt !== null) throw new Failure('forbidden', 'The admin has disabled your tenant.')
  const text = sentKey(headers)
  if (text === undefined) return caller
  const made = keyring.identify(caller, text, remoteAddress)
  return made instanceof Promise ? made.then(enabled) : enabled(made)
}

/** Who is asking from outside the overlay, where an address says nothing: a key, or nobody. Throws a `Failure`. */
export async function identifyByKey(
  { keyring }: Pick<Identity, 'keyring'>,
  remoteAddress: string | undefined,
  headers: IncomingHttpHeaders,
): Promise<Member> {
  const text = sentKey(headers)
  const made = text === undefined ? outsider : await keyring.identify(outsider, text, remoteAddress ?? '')
  if (!made.key) throw new Failure('unauthorized', 'Send an API key of this gateway’s.')
  return enabled(made)
}

/** For a listener that is open to the world: everybody is a stranger there, and a key changes nothing. */
export const strangers: Identity = {
  // Of no device: the audit has an address of them, and nothing to disable.
  directory: { identify: () => ({ ...outsider, name: '' }) },
  keyring: { identify: (member) => member },
}

const outsider: Member = {
  kind: 'device',
  name: 'outside',
  tenant: { ...homeTenant, disabledAt: null },
  admin: false,
  held: [],
}

function enabled<C extends Caller>(caller: C): C {
  if (caller.kind !== 'guest' && caller.tenant.disabledAt !== null)
    throw new Failure('forbidden', 'The admin has disabled this key’s tenant.')
  return caller
}

/** `Authorization: Bearer`, as OpenAI's and Ollama's clients send it, or `X-API-Key`, as Anthropic's do. */
function sentKey({ authorization, 'x-api-key': apiKey }: IncomingHttpHeaders): string | undefined {
  if (typeof apiKey === 'string') return apiKey
  return authorization !== undefined && /^bearer /i.test(authorization)
    ? authorization.slice(7).trim()
    : undefined
}
