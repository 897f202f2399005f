/**
 * The CA: a root and an intermediate, both constrained to the overlay's own names and ranges. Stolen, they
 * still can't speak for anyone else. Leaves come from the intermediate, so that verifiers that skip the
 * constraints of a trust anchor still see them, and the root key can be put away (RFC 5280 §4.2.1.10).
 */
import 'reflect-metadata'
import { X509Certificate, createPrivateKey, type KeyObject } from 'node:crypto'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import { AuthorityError, type AuthorityFault } from './authority-error.ts'
import {
  certificatePem,
  commonName,
  commonNameOf,
  makeCertificate,
  type Signer,
  type Validity,
} from './certificate.ts'
import { isP256, keyAlgorithm, keyPem, makeKeyPair } from './key-pair.ts'
import { nameConstraints, permittedBy, type Permitted } from './name-constraints.ts'
import { inaccessible, readPem, writePem } from './pem-file.ts'

export interface Authority {
  /** The root's common name: whose CA it is. */
  readonly name: string
  /** What devices trust; PEM. */
  readonly rootCertificate: string
  /** Sent along with each leaf; PEM. */
  readonly intermediateCertificate: string
  /** Of the root: SHA-256, upper-case hex in pairs with colons. */
  readonly fingerprint: string
  readonly permitted: Permitted
  readonly rootNotAfter: Date
  readonly intermediateNotAfter: Date
  /** @internal the intermediate: signs leaves */
  readonly signer: Signer
}

export interface AuthorityRequest {
  /** Whose CA it is, for example `Sotto CA of nas`. What is beyond 50 characters is cut. */
  readonly name: string
  readonly permitted: Permitted
  readonly now?: Date
}

const dayMs = 86_400_000
/** Long, since replacing it takes a hand on every device (mkcert: ten years). */
const rootLifeMs = 3_650 * dayMs
const intermediateLifeMs = 1_825 * dayMs
/** A common name holds 64 characters (RFC 5280 appendix A.1), and the intermediate's has a suffix. */
const nameLength = 50

/** Names do not bound code signing or e-mail, so the usages do. */
const usages = [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]

const files = ['root.crt', 'root.key', 'intermediate.crt', 'intermediate.key'] as const
type File = (typeof files)[number]

/** Reads the CA of a directory, or makes one where there is none. */
export async function loadOrMakeAuthority(
  directory: string,
  request: AuthorityRequest,
): Promise<{ readonly authority: Authority; readonly made: boolean }> {
  try {
    return { authority: await loadAuthority(directory, request), made: false }
  } catch (error) {
    if (!(error instanceof AuthorityError) || error.code !== 'missing') throw error
  }
  return { authority: await makeAuthority(directory, request), made: true }
}

/** Makes a CA (directory 0700, files 0600). Throws an `AuthorityError` where any file of one is there. */
export async function makeAuthority(directory: string, request: AuthorityRequest): Promise<Authority> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await chmod(directory, 0o700)
  } catch (error) {
    throw inaccessible(`The directory ${directory} can't be made private`, error)
  }
  const present = (await readFiles(directory)).keys().toArray()
  if (present.length > 0)
    throw new AuthorityError(
      'taken',
      `There is a CA in ${directory} already, or a part of one: ${present.join(', ')}.`,
      'Move it away to make a new CA; devices must then trust that one.',
    )
  const { now = new Date() } = request
  for (const [file, pem] of await makeFiles(request, now)) await writePem(join(directory, file), pem)
  return loadAuthority(directory, { now })
}

/**
 * Reads the CA and checks that it is whole, ours and in date. The root's key may be put away: it is not
 * needed day to day. Throws an `AuthorityError` that says which.
 *
 * @param ended whether one that is out of date will do: to be replaced
 */
export async function loadAuthority(
  directory: string,
  { now = new Date(), ended = false }: { readonly now?: Date; readonly ended?: boolean } = {},
): Promise<Authority> {
  const parts = parseParts(directory, await readFiles(directory))
  const permitted = checkOurs(directory, parts)
  checkPairs(directory, parts)
  if (!ended) checkDates(directory, parts, now)
  const { root, intermediate, intermediateKey } = parts
  return {
    name: commonNameOf(root),
    rootCertificate: root.toString(),
    intermediateCertificate: intermediate.toString(),
    fingerprint: root.fingerprint256,
    permitted,
    rootNotAfter: root.validToDate,
    intermediateNotAfter: intermediate.validToDate,
    signer: {
      name: new x509.X509Certificate(intermediate.raw).subjectName.toJSON(),
      publicKey: intermediate.publicKey.toCryptoKey(keyAlgorithm, true, ['verify']),
      privateKey: intermediateKey.toCryptoKey(keyAlgorithm, true, ['sign']),
    },
  }
}

/** In the order of writing. The intermediate's certificate is last: without it, a crash left half a CA. */
async function makeFiles(request: AuthorityRequest, now: Date): Promise<Map<File, string>> {
  const name = Array.from(request.name).slice(0, nameLength).join('')
  const rootPair = await makeKeyPair()
  const issuer = { name: commonName(name), ...rootPair }
  const root = await makeCertificate({
    subject: name,
    issuer,
    publicKey: rootPair.publicKey,
    validity: { now, lifeMs: rootLifeMs },
    extensions: [...signsCertificates(1), nameConstraints(request.permitted)],
  })
  return new Map<File, string>([
    ['root.key', keyPem(rootPair.privateKey)],
    ['root.crt', certificatePem(root)],
    ...(await intermediateFiles(issuer, request.permitted, { now, lifeMs: intermediateLifeMs })),
  ])
}

/** A new intermediate of a root that is there, for the same names; key first, as it must be written. */
export async function makeIntermediate(
  rootPem: string,
  rootKey: KeyObject,
  now: Date,
): Promise<ReadonlyMap<string, string>> {
  const root = new X509Certificate(rootPem)
  const parsed = new x509.X509Certificate(root.raw)
  const permitted = permittedBy(parsed)
  if (!permitted || !root.checkPrivateKey(rootKey))
    throw new AuthorityError('mismatch', 'That is not the key of root.crt.', 'Bring the right root.key back.')
  const issuer = {
    name: parsed.subjectName.toJSON(),
    publicKey: root.publicKey.toCryptoKey(keyAlgorithm, true, ['verify']),
    privateKey: rootKey.toCryptoKey(keyAlgorithm, true, ['sign']),
  }
  return intermediateFiles(issuer, permitted, { now, lifeMs: intermediateLifeMs, until: root.validToDate })
}

async function intermediateFiles(
  issuer: Signer,
  permitted: Permitted,
  validity: Validity,
): Promise<Map<File, string>> {
  const [{ CN: [name = ''] = [] } = {}] = issuer.name
  const pair = await makeKeyPair()
  const intermediate = await makeCertificate({
    subject: `${name}, issuing`,
    issuer,
    publicKey: pair.publicKey,
    validity,
    extensions: [
      ...signsCertificates(0),
      nameConstraints(permitted),
      new x509.ExtendedKeyUsageExtension(usages),
    ],
  })
  return new Map<File, string>([
    ['intermediate.key', keyPem(pair.privateKey)],
    ['intermediate.crt', certificatePem(intermediate)],
  ])
}

/** @param below how many CAs may stand between this one and a leaf */
function signsCertificates(below: number): x509.Extension[] {
  return [
    new x509.BasicConstraintsExtension(true, below, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
  ]
}

interface Parts {
  readonly root: X509Certificate
  readonly rootKey: KeyObject | undefined
  readonly intermediate: X509Certificate
  readonly intermediateKey: KeyObject
}

async function readFiles(directory: string): Promise<Map<File, string>> {
  const found = new Map<File, string>()
  for (const file of files) {
    const pem = await readPem(join(directory, file))
    if (pem !== undefined) found.set(file, pem)
  }
  return found
}

function parseParts(directory: string, found: ReadonlyMap<File, string>): Parts {
  if (found.size === 0)
    throw new AuthorityError(
      'missing',
      `There is no CA in ${directory}.`,
      'Start the gateway once: it makes one.',
    )
  const absent = files.filter((file) => file !== 'root.key' && !found.has(file))
  const parse = <T>(file: File, parser: (pem: string) => T): T => {
    try {
      return parser(found.get(file) ?? '')
    } catch (error) {
      throw unusable(directory, 'half_written', `it is not whole: ${file} is damaged`, error)
    }
  }
  if (absent.length > 0)
    throw unusable(directory, 'half_written', `it is not whole: ${absent.join(', ')} missing`)
  return {
    root: parse('root.crt', (pem) => new X509Certificate(pem)),
    rootKey: found.has('root.key') ? parse('root.key', createPrivateKey) : undefined,
    intermediate: parse('intermediate.crt', (pem) => new X509Certificate(pem)),
    intermediateKey: parse('intermediate.key', createPrivateKey),
  }
}

/** What the CA permits: the intermediate's constraints, and the root must have its own. */
function checkOurs(directory: string, { root, intermediate }: Parts): Permitted {
  const [byRoot, permitted] = [root, intermediate].map(({ raw }) =>
    permittedBy(new x509.X509Certificate(raw)),
  )
  if (!byRoot || !permitted)
    throw unusable(directory, 'foreign', 'Sotto did not make it: it may sign for names beyond the overlay')
  if (!root.ca || !intermediate.ca || ![root, intermediate].every(({ publicKey }) => isP256(publicKey)))
    throw unusable(directory, 'foreign', 'Sotto did not make it: its certificates are of another kind')
  return permitted
}

function checkPairs(directory: string, { root, rootKey, intermediate, intermediateKey }: Parts): void {
  const wrong =
    (!root.verify(root.publicKey) && 'root.crt is not signed by itself') ||
    (!intermediate.verify(root.publicKey) && 'root.crt did not sign intermediate.crt') ||
    (!intermediate.checkPrivateKey(intermediateKey) &&
      'intermediate.key is not the key of intermediate.crt') ||
    (rootKey && !root.checkPrivateKey(rootKey) && 'root.key is not the key of root.crt')
  if (wrong) throw unusable(directory, 'mismatch', wrong)
}

function checkDates(directory: string, { root, intermediate }: Parts, now: Date): void {
  for (const [file, { validFromDate: from, validToDate: to }] of [
    ['root.crt', root],
    ['intermediate.crt', intermediate],
  ] as const)
    if (to <= now || from > now)
      throw new AuthorityError(
        'expired',
        `The CA in ${directory} can't be used: ${file} holds from ${from.toISOString()} to ${to.toISOString()}, and it is ${now.toISOString()}.`,
        `Check the clock (\`date\`). If it is right: ${to <= now ? renewals[file] : restore(directory)}`,
      )
}

/** What mends one that has ended. */
const renewals = {
  'intermediate.crt': './sotto cert renew. Devices need nothing new.',
  'root.crt':
    './sotto cert rollover && ./sotto cert rollover --finish. Each device must then trust the new one.',
} as const

function unusable(directory: string, code: AuthorityFault, why: string, cause?: unknown): AuthorityError {
  return new AuthorityError(code, `The CA in ${directory} can't be used: ${why}.`, restore(directory), cause)
}

function restore(directory: string): string {
  return `Restore ${directory} from a backup, or move it away to make a new CA; devices must then trust that one.`
}
