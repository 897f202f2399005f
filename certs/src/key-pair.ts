/** Key pairs of the CA and its leaves. */
import { KeyObject, webcrypto } from 'node:crypto'

/** P-256 is the one curve that every device's TLS takes. */
export const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

export async function makeKeyPair(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
}

export function isP256(key: KeyObject): boolean {
  // OpenSSL's name of the curve.
  return key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
}

/** PKCS#8 PEM. */
export function keyPem(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ format: 'pem', type: 'pkcs8' }).toString()
}
