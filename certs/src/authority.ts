/**
 * The CA: a root and an intermediate, both constrained to the overlay's own names and ranges. Stolen, they
 * still can't speak for anyone else. Leaves come from the intermediate, so that verifiers that skip the
 * constraints of a trust anchor still see them, and the root key can be put away (RFC 5280 §4.2.1.10).
 */
import 'reflect-metadata'
import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AsnConvert } from '@peculiar/asn1-schema'
import { GeneralName, GeneralSubtree, GeneralSubtrees, NameConstraints } from '@peculiar/asn1-x509'
import * as x509 from '@peculiar/x509'
import writeFileAtomic from 'write-file-atomic'

/** What the CA may sign for: DNS names (and all below them), and IPv4 and IPv6 ranges as CIDR. */
export interface Permitted {
  readonly dns: readonly string[]
  readonly ip: readonly string[]
}

export interface Authority {
  /** The root's common name: whose CA it is. */
  readonly name: string
  /** What devices trust; PEM. */
  readonly rootCertificate: string
  /** Sent along with each leaf; PEM. */
  readonly intermediateCertificate: string
  /** Of the root: SHA-256, upper-case hex in pairs with colons. */
  readonly fingerprint: string
  readonly notAfter: Date
  /** @internal signs leaves */
  readonly issuer: Issuer
}

interface Issuer {
  readonly certificate: x509.X509Certificate
  readonly key: webcrypto.CryptoKey
}

export type AuthorityFault = 'missing' | 'half_written' | 'expired' | 'foreign' | 'mismatch' | 'not_permitted'

/** What is wrong with a CA or a request to it, and what helps. */
export class AuthorityError extends Error {
  readonly code: AuthorityFault
  readonly remedy: string

  constructor(code: AuthorityFault, message: string, remedy: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'AuthorityError'
    this.code = code
    this.remedy = remedy
  }
}

/** P-256 is the one curve that every device's TLS takes. */
export const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

export const dayMs = 86_400_000
/** Phones that set their clock late must not find a certificate of the future. */
export const backdateMs = 3_600_000
/** Long, since replacing it takes a hand on every device (mkcert: ten years). */
const rootDays = 3_650
const intermediateDays = 1_825

const files = ['root.crt', 'root.key', 'intermediate.crt', 'intermediate.key'] as const
const nameConstraints = '2.5.29.30'

/** Reads the CA of a directory, or makes one where there is none. */
export async function loadOrMakeAuthority(
  directory: string,
  wanted: { readonly name: string; readonly permitted: Permitted },
  now: Date = new Date(),
): Promise<{ readonly authority: Authority; readonly made: boolean }> {
  try {
    return { authority: await loadAuthority(directory, now), made: false }
  } catch (error) {
    if (!(error instanceof AuthorityError) || error.code !== 'missing') throw error
  }
  await makeAuthority(directory, wanted, now)
  return { authority: await loadAuthority(directory, now), made: true }
}

/** Makes a CA in an empty directory (0700, keys 0600). */
export async function makeAuthority(
  directory: string,
  { name, permitted }: { readonly name: string; readonly permitted: Permitted },
  now: Date = new Date(),
): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const constraints = permittedSubtrees(permitted)
  const root = await makePair()
  const intermediate = await makePair()
  const rootCertificate = await sign({
    subject: name,
    days: rootDays,
    pathLength: 1,
    publicKey: root.publicKey,
    constraints,
    now,
    signer: root,
    issuer: undefined,
  })
  const intermediateCertificate = await sign({
    subject: `${name}, issuing`,
    days: intermediateDays,
    pathLength: 0,
    publicKey: intermediate.publicKey,
    constraints,
    now,
    signer: root,
    issuer: rootCertificate,
  })
  // The intermediate's certificate last: a crash before it is told from a whole CA.
  await writePrivate(join(directory, 'root.key'), await exportKey(root.privateKey))
  await writePrivate(join(directory, 'root.crt'), pem(rootCertificate))
  await writePrivate(join(directory, 'intermediate.key'), await exportKey(intermediate.privateKey))
  await writePrivate(join(directory, 'intermediate.crt'), pem(intermediateCertificate))
}

/**
 * Reads the CA and checks that it is whole, in date and ours. The root's key may be put away: it is not
 * needed day to day. Throws an `AuthorityError` that says which.
 */
export async function loadAuthority(directory: string, now: Date = new Date()): Promise<Authority> {
  const restore = `Restore ${directory} from a backup, or move it away to make a new CA; devices must then trust that one.`
  const present = files.filter((file) => existsSync(join(directory, file)))
  if (present.length === 0)
    throw new AuthorityError(
      'missing',
      `There is no CA in ${directory}.`,
      'Start the gateway once: it makes one.',
    )
  const absent = files.filter((file) => file !== 'root.key' && !present.includes(file))
  if (absent.length > 0)
    throw new AuthorityError(
      'half_written',
      `The CA in ${directory} is not whole: ${absent.join(', ')} missing.`,
      restore,
    )
  const read = async (file: string) => readFile(join(directory, file), 'utf8')
  const { root, intermediate, key } = await parse(read).catch((error: unknown) => {
    throw new AuthorityError('half_written', `The CA in ${directory} can't be read.`, restore, error)
  })
  await checkOurs(root, intermediate, directory, restore)
  await checkKey(intermediate, key, directory, restore)
  for (const [what, certificate] of [
    ['root', root],
    ['intermediate', intermediate],
  ] as const)
    if (certificate.notAfter <= now || certificate.notBefore > now)
      throw new AuthorityError(
        'expired',
        `The CA's ${what} in ${directory} holds from ${certificate.notBefore.toISOString()} to ${certificate.notAfter.toISOString()}, and it is ${now.toISOString()}.`,
        `Check the clock (\`date\`). If it is right: ${restore}`,
      )
  return {
    name: root.subjectName.getField('CN')[0] ?? root.subject,
    rootCertificate: pem(root),
    intermediateCertificate: pem(intermediate),
    fingerprint: fingerprint(await root.getThumbprint('SHA-256')),
    notAfter: root.notAfter < intermediate.notAfter ? root.notAfter : intermediate.notAfter,
    issuer: { certificate: intermediate, key },
  }
}

/** The names and ranges that the CA's constraints permit, as they stand in its certificate. */
export function permittedBy(authority: Authority): Permitted {
  const extension = authority.issuer.certificate.getExtension(nameConstraints)
  const subtrees = extension
    ? (AsnConvert.parse(extension.value, NameConstraints).permittedSubtrees ?? [])
    : []
  return {
    dns: subtrees.flatMap(({ base }) => base.dNSName ?? []),
    ip: subtrees.flatMap(({ base }) => base.iPAddress ?? []),
  }
}

/** A serial number as RFC 5280 §4.1.2.2 wants it: positive, and 20 bytes at most. */
export function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0] ?? 0) & 0x7f
  return bytes.toString('hex')
}

export async function makePair(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
}

/** PKCS#8 PEM. */
export async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ format: 'pem', type: 'pkcs8' })
    .toString()
}

/** A file that appears whole or not at all, for its owner alone. */
export async function writePrivate(file: string, text: string): Promise<void> {
  await writeFileAtomic(file, text, { mode: 0o600 })
}

export function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

interface CaRequest {
  readonly subject: string
  readonly days: number
  readonly pathLength: number
  readonly publicKey: webcrypto.CryptoKey
  readonly constraints: x509.Extension
  readonly now: Date
  readonly signer: webcrypto.CryptoKeyPair
  /** Undefined for the root, which signs itself. */
  readonly issuer: x509.X509Certificate | undefined
}

async function sign(request: CaRequest): Promise<x509.X509Certificate> {
  const { subject, now, publicKey, signer, issuer } = request
  const names = new x509.Name([{ CN: [subject] }])
  return x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: names.toJSON(),
    issuer: issuer ? issuer.subjectName.toJSON() : names.toJSON(),
    notBefore: new Date(now.getTime() - backdateMs),
    notAfter: new Date(now.getTime() + request.days * dayMs),
    publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: keyAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, request.pathLength, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      request.constraints,
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey),
    ],
  })
}

/**
 * Critical name constraints. What is not named is open, so each type that a verifier may match is named:
 * DNS and both address families by what is permitted, e-mail by a domain that can't exist (RFC 2606).
 */
function permittedSubtrees({ dns, ip }: Permitted): x509.Extension {
  const bases = [
    ...dns.map((dNSName) => new GeneralName({ dNSName })),
    ...ip.map((iPAddress) => new GeneralName({ iPAddress })),
    new GeneralName({ rfc822Name: 'nobody.invalid' }),
  ]
  const subtrees = new GeneralSubtrees(bases.map((base) => new GeneralSubtree({ base })))
  const value = AsnConvert.serialize(new NameConstraints({ permittedSubtrees: subtrees }))
  return new x509.Extension(nameConstraints, true, value)
}

async function parse(read: (file: string) => Promise<string>) {
  const key = createPrivateKey(await read('intermediate.key')).export({ format: 'der', type: 'pkcs8' })
  return {
    root: new x509.X509Certificate(await read('root.crt')),
    intermediate: new x509.X509Certificate(await read('intermediate.crt')),
    key: await webcrypto.subtle.importKey('pkcs8', key, keyAlgorithm, true, ['sign']),
  }
}

async function checkOurs(
  root: x509.X509Certificate,
  intermediate: x509.X509Certificate,
  directory: string,
  remedy: string,
) {
  const signed =
    (await root.verify({ signatureOnly: true })) &&
    (await intermediate.verify({ publicKey: root, signatureOnly: true }))
  const constrained = [root, intermediate].every(
    (certificate) => certificate.getExtension(nameConstraints)?.critical,
  )
  if (!signed || !constrained)
    throw new AuthorityError(
      'foreign',
      `The CA in ${directory} is not one that Sotto made: ${signed ? 'it may sign for any name' : 'its root did not sign its intermediate'}.`,
      remedy,
    )
}

async function checkKey(
  certificate: x509.X509Certificate,
  key: webcrypto.CryptoKey,
  directory: string,
  remedy: string,
) {
  const probe = Buffer.from('whose key is this?')
  const signature = await webcrypto.subtle.sign(keyAlgorithm, key, probe)
  const own = await certificate.publicKey.export()
  if (!(await webcrypto.subtle.verify(keyAlgorithm, own, signature, probe)))
    throw new AuthorityError(
      'mismatch',
      `In ${directory}, intermediate.key is not the key of intermediate.crt.`,
      remedy,
    )
}

function fingerprint(digest: ArrayBuffer): string {
  return Buffer.from(digest).toString('hex').toUpperCase().match(/../g)?.join(':') ?? ''
}
