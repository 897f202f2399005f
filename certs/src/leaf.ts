/** Leaf certificates: what the gateway shows. Kept in a directory and renewed before they end. */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import ipaddr from 'ipaddr.js'
import {
  AuthorityError,
  backdateMs,
  dayMs,
  exportKey,
  keyAlgorithm,
  makePair,
  pem,
  permittedBy,
  serialNumber,
  writePrivate,
  type Authority,
} from './authority.ts'

export interface Leaf {
  /** The leaf, then the intermediate; PEM. */
  readonly cert: string
  /** PKCS#8 PEM. */
  readonly key: string
  readonly notAfter: Date
}

export interface LeafRequest {
  /** DNS names and IP addresses, at least one. */
  readonly names: readonly string[]
  readonly now?: Date
}

/** Renewed often enough that renewal is never a surprise; Apple takes at most 825 days (support 103769). */
const lifeDays = 90
/** Also catches a laptop that slept through its date. */
const lookEveryMs = 3_600_000

/** Issues a server leaf. Throws an `AuthorityError` for a name outside the CA's constraints. */
export async function issueLeaf(
  authority: Authority,
  { names, now = new Date() }: LeafRequest,
): Promise<Leaf> {
  checkNames(authority, names)
  const pair = await makePair()
  const notAfter = new Date(Math.min(now.getTime() + lifeDays * dayMs, authority.notAfter.getTime()))
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    // The names alone say whose it is; an empty subject makes their extension critical (RFC 5280 §4.2.1.6).
    issuer: authority.issuer.certificate.subjectName.toJSON(),
    notBefore: new Date(now.getTime() - backdateMs),
    notAfter,
    publicKey: pair.publicKey,
    signingKey: authority.issuer.key,
    signingAlgorithm: keyAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(pair.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.issuer.certificate.publicKey),
    ],
  })
  return {
    cert: pem(certificate) + authority.intermediateCertificate,
    key: await exportKey(pair.privateKey),
    notAfter,
  }
}

/** The leaf kept in a directory; a new one where it is missing, damaged, past two thirds of its life, or not for these names. */
export async function ensureLeaf(
  authority: Authority,
  directory: string,
  request: LeafRequest,
): Promise<Leaf> {
  const kept = await readLeaf(directory)
  if (kept && isGood(kept, authority, request)) return kept
  const leaf = await issueLeaf(authority, request)
  // The key first: a crash between the two leaves a pair that does not match, and that is issued anew.
  await writePrivate(join(directory, 'leaf.key'), leaf.key)
  await writePrivate(join(directory, 'leaf.crt'), leaf.cert)
  return leaf
}

/** Looks every hour and hands over each new leaf. Returns what ends it. */
export function keepLeaf(
  authority: Authority,
  directory: string,
  request: LeafRequest,
  renewed: (leaf: Leaf) => void,
  failed: (error: unknown) => void,
): () => void {
  let known: string | undefined
  const look = async (): Promise<void> => {
    const leaf = await ensureLeaf(authority, directory, request)
    if (known !== undefined && leaf.cert !== known) renewed(leaf)
    known = leaf.cert
  }
  const timer = setInterval(() => void look().catch(failed), lookEveryMs).unref()
  void look().catch(failed)
  return () => clearInterval(timer)
}

function checkNames(authority: Authority, names: readonly string[]): void {
  const permitted = permittedBy(authority)
  for (const name of names)
    if (!isPermitted(name, permitted))
      throw new AuthorityError(
        'not_permitted',
        `This CA may not sign for ${name}: it is constrained to ${[...permitted.dns, ...permitted.ip].join(', ')}.`,
        'Ask for a name or address of the overlay.',
      )
  if (names.length === 0)
    throw new AuthorityError('not_permitted', 'A leaf needs a name.', 'Name at least one host or address.')
}

function isPermitted(name: string, { dns, ip }: ReturnType<typeof permittedBy>): boolean {
  if (!isIP(name))
    return dns.some((base) => name.toLowerCase() === base || name.toLowerCase().endsWith(`.${base}`))
  const address = ipaddr.parse(name)
  return ip.some((range) => {
    const [network, bits] = ipaddr.parseCIDR(range)
    return network.kind() === address.kind() && address.match(network, bits)
  })
}

async function readLeaf(directory: string): Promise<Leaf | undefined> {
  try {
    const cert = await readFile(join(directory, 'leaf.crt'), 'utf8')
    const key = await readFile(join(directory, 'leaf.key'), 'utf8')
    return { cert, key, notAfter: new Date(new X509Certificate(cert).validTo) }
  } catch {
    return undefined
  }
}

function isGood(leaf: Leaf, authority: Authority, { names, now = new Date() }: LeafRequest): boolean {
  const certificate = new X509Certificate(leaf.cert)
  const begins = new Date(certificate.validFrom).getTime()
  const renewAt = begins + ((leaf.notAfter.getTime() - begins) * 2) / 3
  return (
    begins <= now.getTime() &&
    now.getTime() < renewAt &&
    leaf.cert.endsWith(authority.intermediateCertificate) &&
    certificate.verify(new X509Certificate(authority.intermediateCertificate).publicKey) &&
    certificate.checkPrivateKey(createPrivateKey(leaf.key)) &&
    names.every(
      (name) => (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined,
    )
  )
}
