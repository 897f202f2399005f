/**
 * A configuration profile for Apple's systems that holds the roots to trust. Source: Apple, «Device
 * Management», CertificateRoot (`com.apple.security.root`). Installed by hand, trust must be switched on for
 * each in Settings › General › About › Certificate Trust Settings.
 */
import { X509Certificate, createHash } from 'node:crypto'
import { build } from 'plist'
import { commonNameOf } from './certificate.ts'

export interface ProfileRequest {
  /** PEM, the one in use first. */
  readonly roots: readonly string[]
  /** Whose they are, for people. */
  readonly name: string
}

const identifier = 'internal.sotto.ca'

/** XML, `application/x-apple-aspen-config`. The same roots give the same text, and replace it where installed. */
export function appleProfile({ roots, name }: ProfileRequest): string {
  const certificates = roots.map((pem) => new X509Certificate(pem))
  return build({
    PayloadType: 'Configuration',
    PayloadVersion: 1,
    PayloadIdentifier: identifier,
    PayloadUUID: uuidOf(certificates.map(({ fingerprint256 }) => fingerprint256).join()),
    PayloadDisplayName: name,
    PayloadDescription:
      'Lets this device trust the Sotto gateway. It can vouch for the overlay’s own names and addresses alone.',
    PayloadRemovalDisallowed: false,
    PayloadContent: certificates.map((certificate) => ({
      PayloadType: 'com.apple.security.root',
      PayloadVersion: 1,
      PayloadIdentifier: `${identifier}.${certificate.fingerprint256.replaceAll(':', '').slice(0, 16).toLowerCase()}`,
      PayloadUUID: uuidOf(certificate.fingerprint256),
      PayloadDisplayName: commonNameOf(certificate),
      PayloadCertificateFileName: 'sotto-ca.crt',
      PayloadContent: certificate.raw,
    })),
  })
}

/** Of our own making from a text (RFC 9562 §5.8, version 8). */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(`sotto profile ${text}`).digest().subarray(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
    .join('-')
    .toUpperCase()
}
