/** Leaf certificates: what the gateway shows. Kept in a directory and renewed before they end. */
import 'reflect-metadata'
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { AuthorityError } from './authority-error.ts'
import type { Authority } from './authority.ts'
import { certificatePem, makeCertificate } from './certificate.ts'
import { keyPem, makeKeyPair } from './key-pair.ts'
import { isPermitted } from './name-constraints.ts'
import { readPem, writePem } from './pem-file.ts'
import { parseSubjectName, type SubjectName } from './subject-name.ts'

/** `cert` and `key` are named as Node's TLS options are. */
export interface Leaf {
  /** The leaf, then the intermediate; PEM. */
  readonly cert: string
  /** PKCS#8 PEM. */
  readonly key: string
  readonly notAfter: Date
  /** Two thirds of its life: from then on a new one is due. */
  readonly renewAt: Date
}

export interface LeafRequest {
  /** DNS names and IP addresses, at least one. */
  readonly names: readonly string[]
  /** Whether it may also show who a client is. */
  readonly client?: boolean
  readonly now?: Date
}

/** Renewed often enough that renewal is never a surprise; Apple takes at most 825 days (support 103769). */
const lifeMs = 90 * 86_400_000
/** Also catches a laptop that slept through its date, a clock that was set, and a disk that has room again. */
const lookEveryMs = 60_000

/** Issues a server leaf. Throws an `AuthorityError` for a name outside the CA's constraints. */
export async function issueLeaf(
  authority: Authority,
  { names, client = false, now = new Date() }: LeafRequest,
): Promise<Leaf> {
  const subjects = permittedSubjects(authority, names)
  const until = authority.intermediateNotAfter
  if (until <= now)
    throw new AuthorityError(
      'expired',
      `The CA's intermediate ended on ${until.toISOString()}.`,
      'Renew it: ./sotto cert renew',
    )
  const pair = await makeKeyPair()
  const certificate = await makeCertificate({
    issuer: authority.signer,
    publicKey: pair.publicKey,
    validity: { now, lifeMs, until },
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        ...(client ? [x509.ExtendedKeyUsage.clientAuth] : []),
      ]),
      // Critical, since with no subject the names alone say whose it is (RFC 5280 §4.2.1.6).
      new x509.SubjectAlternativeNameExtension([...subjects], true),
    ],
  })
  return leafOf(certificatePem(certificate) + authority.intermediateCertificate, keyPem(pair.privateKey))
}

/**
 * The leaf kept in a directory as `leaf.crt` and `leaf.key`. `issued` tells a new one: where it is missing,
 * damaged, past two thirds of its life, of another CA, or for other names than these.
 */
export async function ensureLeaf(
  authority: Authority,
  directory: string,
  { names, now = new Date() }: LeafRequest,
): Promise<Leaf & { readonly issued: boolean }> {
  const subjects = permittedSubjects(authority, names)
  const kept = await readLeaf(directory)
  if (kept && isGood(kept, authority, subjects, now)) return { ...kept, issued: false }
  const leaf = await issueLeaf(authority, { names, now })
  // The key first: a crash between the two leaves a pair that does not match, and that is issued anew.
  await writePem(join(directory, 'leaf.key'), leaf.key)
  await writePem(join(directory, 'leaf.crt'), leaf.cert)
  return { ...leaf, issued: true }
}

/** The leaf kept in a directory, in date or not; undefined where there is none, or a damaged one. */
export async function readLeaf(directory: string): Promise<Leaf | undefined> {
  const cert = await readPem(join(directory, 'leaf.crt'))
  const key = await readPem(join(directory, 'leaf.key'))
  if (cert === undefined || key === undefined) return undefined
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)) ? leafOf(cert, key) : undefined
  } catch {
    // Not PEM: as good as none, and nothing is lost by a new one.
    return undefined
  }
}

export interface LeafEvents {
  /** A new one, to be shown from now on. */
  renewed(leaf: Leaf): void
  /** It could not be looked after; it is tried again a minute later. */
  failed(error: unknown): void
  /** At a look all was as it should be, or is again. */
  kept?(): void
}

/**
 * Looks at once and every minute, at the CA too, which may have been replaced. Returns what ends it; nothing is
 * handed over after that.
 */
export function keepLeaf(
  load: () => Promise<Authority>,
  directory: string,
  { names }: Pick<LeafRequest, 'names'>,
  { renewed, failed, kept }: LeafEvents,
): () => void {
  let known: string | undefined
  let due = false
  let stopped = false
  const look = async (): Promise<void> => {
    const leaf = await ensureLeaf(await load(), directory, { names })
    if (stopped) return
    // Also one that another process put there between two looks, and one that could not be handed over.
    due ||= leaf.issued || (known !== undefined && leaf.cert !== known)
    known = leaf.cert
    if (due) renewed(leaf)
    due = false
    kept?.()
  }
  let looking: Promise<void> | undefined
  const tick = (): void => {
    looking ??= look()
      .catch(failed)
      .finally(() => (looking = undefined))
  }
  const timer = setInterval(tick, lookEveryMs).unref()
  tick()
  return () => {
    stopped = true
    clearInterval(timer)
  }
}

/** Each name once, in its canonical spelling. */
function permittedSubjects(authority: Authority, names: readonly string[]): readonly SubjectName[] {
  if (names.length === 0)
    throw new AuthorityError('not_permitted', 'A leaf needs a name.', 'Name at least one host or address.')
  const subjects = new Map<string, SubjectName>()
  for (const name of names) {
    const subject = parseSubjectName(name)
    if (!subject)
      throw new AuthorityError(
        'not_permitted',
        `${JSON.stringify(name)} is neither a host name nor an IP address.`,
        'Write names as nas.home and addresses as 10.77.0.5, without scheme or port.',
      )
    if (!isPermitted(subject, authority.permitted)) throw outside(name, authority)
    subjects.set(subject.value, subject)
  }
  return subjects.values().toArray()
}

function outside(name: string, { permitted }: Authority): AuthorityError {
  return new AuthorityError(
    'not_permitted',
    `This CA may not sign for ${name}: it is constrained to ${[...permitted.dns, ...permitted.ip].join(', ')}.`,
    'Ask for a name or address of the overlay.',
  )
}

function leafOf(cert: string, key: string): Leaf {
  const { validFromDate: from, validToDate: notAfter } = new X509Certificate(cert)
  const renewAt = new Date(from.getTime() + ((notAfter.getTime() - from.getTime()) * 2) / 3)
  return { cert, key, notAfter, renewAt }
}

function isGood(leaf: Leaf, authority: Authority, subjects: readonly SubjectName[], now: Date): boolean {
  const certificate = new X509Certificate(leaf.cert)
  const names = new Set(namesOf(leaf.cert))
  return (
    certificate.validFromDate <= now &&
    now < leaf.renewAt &&
    leaf.cert.endsWith(authority.intermediateCertificate) &&
    certificate.verify(new X509Certificate(authority.intermediateCertificate).publicKey) &&
    names.size === subjects.length &&
    subjects.every(({ value }) => names.has(value))
  )
}

/** The names a certificate (PEM, the first of a chain) speaks for, as {@link parseSubjectName} spells them. */
export function namesOf(cert: string): string[] {
  const { raw } = new X509Certificate(cert)
  const extension = new x509.X509Certificate(raw).getExtension(x509.SubjectAlternativeNameExtension)
  return extension?.names.items.flatMap(({ value }) => parseSubjectName(value)?.value ?? []) ?? []
}
