/** WireGuard keys without a process: X25519 pairs and preshared keys, base64 as `wg` writes them. */
import {
  createPrivateKey,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'

export interface KeyPair {
  readonly privateKey: string
  readonly publicKey: string
}

/** A new pair; the same form as `wg genkey` and `wg pubkey`. */
export function makeKeyPair(): KeyPair {
  const { privateKey } = generateKeyPairSync('x25519')
  const jwk = privateKey.export({ format: 'jwk' })
  return { privateKey: base64(jwk.d), publicKey: base64(jwk.x) }
}

/** 32 random bytes: mixed into the handshake, it holds where X25519 would not (WireGuard paper, §5.2). */
export function makePresharedKey(): string {
  return randomBytes(32).toString('base64')
}

/**
 * The preshared key of a pair of peers: the same for both, another for each pair, and kept nowhere, since the
 * hub derives it from its own private key (HKDF, RFC 5869).
 */
export function pairPresharedKey(hubPrivateKey: string, one: string, other: string): string {
  const pair = [one, other].toSorted().join(' ')
  const secret = Buffer.from(hubPrivateKey, 'base64')
  return Buffer.from(hkdfSync('sha256', secret, '', `sotto preshared key ${pair}`, 32)).toString('base64')
}

/** What `wg pubkey` prints for a private key. Throws for a text that is no key. */
export function publicKeyOf(privateKey: string): string {
  if (!isKey(privateKey)) throw new TypeError('A WireGuard private key is 32 bytes in base64.')
  // RFC 8410 §7: the fixed prefix of a PKCS#8 X25519 key, then the 32 bytes.
  const der = Buffer.concat([
    Buffer.from('302e020100300506032b656e04220420', 'hex'),
    Buffer.from(privateKey, 'base64'),
  ])
  const key: KeyObject = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const jwk: JsonWebKey = key.export({ format: 'jwk' })
  return base64(jwk.x)
}

/** Whether a text is a key as WireGuard takes it: 32 bytes in canonical base64. */
export function isKey(text: string): boolean {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === 32 && bytes.toString('base64') === text
}

function base64(base64url: string | undefined): string {
  return Buffer.from(base64url ?? '', 'base64url').toString('base64')
}
