/**
 * The code by which a friend's gateway joins ours: the token that lets it in, and the fingerprints of our
 * authorities, so that it trusts us and nobody who stands between. It is shown once and good once.
 */
import { hash, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadAuthority } from '@sotto/certs/authority.ts'
import type { Database } from '@sotto/provisioning/database.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { checkFriendName, checkNewFriend } from '@sotto/provisioning/registry/friend.ts'
import { inviteMesh } from '@sotto/provisioning/registry/mesh.ts'

export interface InvitationCode {
  /** base64url */
  readonly token: string
  /** SHA-256 of each authority that may vouch for us: of the overlay, and of the listener that is open to all. */
  readonly fingerprints: readonly Buffer[]
}

export interface MadeInvitation {
  readonly name: string
  /** Shown now or never. */
  readonly code: string
  readonly expiresAt: string
}

const prefix = 'sotto-friend-'
const partBytes = 32
const checkLength = 6
const mostFingerprints = 4

export function writeInvitationCode({ token, fingerprints }: InvitationCode): string {
  const body =
    prefix + Buffer.concat([Buffer.from(token, 'base64url'), ...fingerprints]).toString('base64url')
  return body + check(body)
}

/** Undefined for what is none, whole. */
export function readInvitationCode(text: string): InvitationCode | undefined {
  const code = text.trim()
  const body = code.slice(0, -checkLength)
  if (!body.startsWith(prefix) || check(body) !== code.slice(-checkLength)) return undefined
  const bytes = Buffer.from(body.slice(prefix.length), 'base64url')
  const parts = bytes.length / partBytes
  if (!Number.isInteger(parts) || parts < 2 || parts > 1 + mostFingerprints) return undefined
  return {
    token: bytes.subarray(0, partBytes).toString('base64url'),
    fingerprints: Array.from({ length: parts - 1 }, (_, index) =>
      bytes.subarray((index + 1) * partBytes, (index + 2) * partBytes),
    ),
  }
}

/**
 * Makes one for a friend whom we will call by that name. Throws a `Problem`.
 * @param certs directory of our authorities
 */
export async function inviteFriend(
  database: Database,
  certs: string,
  wanted: string,
): Promise<MadeInvitation> {
  const name = checkFriendName(wanted.trim())
  await checkNewFriend(database, name, undefined)
  const { rootCertificate } = await loadAuthority(certs)
  // There is one more where a listener is open to all.
  const outside = await readFile(join(certs, 'tunnel.crt'), 'utf8').catch(() => undefined)
  const roots = [rootCertificate, ...(outside === undefined ? [] : [outside])]
  const { invitation, token } = await inviteMesh(database, name)
  const code = writeInvitationCode({ token, fingerprints: roots.map(fingerprintOf) })
  return { name, code, expiresAt: invitation.expiresAt }
}

/** SHA-256 of a certificate in PEM. */
export function fingerprintOf(pem: string): Buffer {
  return hash('sha256', new X509Certificate(pem).raw, 'buffer')
}

/** A slip of the hand is told from a code that is none. */
function check(body: string): string {
  return hash('sha256', body, 'base64url').slice(0, checkLength)
}

export function noCode(): Problem {
  return new Problem(
    'invitation_code',
    'That is no invitation, or a part of one is missing.',
    'Paste the whole line that begins with sotto-friend-.',
  )
}
