/** What every certificate of ours has, the CA's and the leaves': how it is signed and how long it holds. */
import 'reflect-metadata'
import { randomBytes, type webcrypto, type X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { keyAlgorithm } from './key-pair.ts'

export interface CertificateRequest {
  /** Common name; none where the alternative names alone say whose it is. */
  readonly subject?: string
  readonly issuer: Signer
  readonly publicKey: webcrypto.CryptoKey
  readonly validity: Validity
  readonly extensions: readonly x509.Extension[]
}

export interface Signer {
  readonly name: x509.JsonName
  readonly publicKey: x509.PublicKeyType
  readonly privateKey: webcrypto.CryptoKey
}

export interface Validity {
  readonly now: Date
  readonly lifeMs: number
  /** The issuer's own end: what outlives it is refused by verifiers. */
  readonly until?: Date
}

/** Phones that set their clock late must not find a certificate of the future. */
const backdateMs = 3_600_000

/** Signs a P-256 certificate with key identifiers. The backdated hour is part of its life. */
export async function makeCertificate(request: CertificateRequest): Promise<x509.X509Certificate> {
  const { subject, issuer, publicKey, validity } = request
  const notBefore = validity.now.getTime() - backdateMs
  const until = validity.until?.getTime() ?? Infinity
  return x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    ...(subject !== undefined && { subject: commonName(subject) }),
    issuer: issuer.name,
    notBefore: new Date(notBefore),
    notAfter: new Date(Math.min(notBefore + validity.lifeMs, until)),
    publicKey,
    signingKey: issuer.privateKey,
    signingAlgorithm: keyAlgorithm,
    extensions: [
      ...request.extensions,
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
}

export function commonName(name: string): x509.JsonName {
  return [{ CN: [name] }]
}

/** Whose a certificate is, as it was written; its subject as a whole where it has no common name. */
export function commonNameOf(certificate: X509Certificate): string {
  return new x509.X509Certificate(certificate.raw).subjectName.getField('CN')[0] ?? certificate.subject
}

/** With the line end that files want. */
export function certificatePem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

/** Positive, and 20 bytes at most (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16)
  // Neither a sign bit nor leading zeros, which DER does not take.
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}
