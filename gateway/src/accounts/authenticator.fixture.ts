/** An authenticator of software, as WebAuthn has it: makes one passkey and signs with it. */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { isoCBOR } from '@simplewebauthn/server/helpers'

export interface Authenticator {
  /** The browser's part of both: what is asked, and by which page. */
  register(challenge: string, at: Page): Registration
  assert(challenge: string, at: Page): Assertion
  /** As often as it was used. */
  counter: number
}

interface Page {
  readonly origin: string
  readonly rpId: string
}
type Registration = Credential & {
  readonly response: { readonly clientDataJSON: string; readonly attestationObject: string }
}
type Assertion = Credential & {
  readonly response: {
    readonly clientDataJSON: string
    readonly authenticatorData: string
    readonly signature: string
  }
}
interface Credential {
  readonly id: string
  readonly rawId: string
  readonly type: 'public-key'
  readonly clientExtensionResults: Record<string, never>
}

/** Somebody is there, and showed who they are; and with a new one, its key follows. */
const present = 0x05
const attested = 0x40

export function createAuthenticator({ verifies = true } = {}): Authenticator {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const id = randomBytes(16)
  const credential = {
    id: id.toString('base64url'),
    rawId: id.toString('base64url'),
    type: 'public-key',
    clientExtensionResults: {},
  } as const
  const key = isoCBOR.encode(
    new Map<number, number | Uint8Array<ArrayBuffer>>([
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, new Uint8Array(Buffer.from(x, 'base64url'))],
      [-3, new Uint8Array(Buffer.from(y, 'base64url'))],
    ]),
  )
  const dataFor = (rpId: string, flags: number, counter: number): Buffer => {
    const count = Buffer.alloc(4)
    count.writeUInt32BE(counter)
    return Buffer.concat([sha256(rpId), Buffer.from([verifies ? flags : flags & ~0x04]), count])
  }
  const client = (type: string, challenge: string, origin: string): Buffer =>
    Buffer.from(JSON.stringify({ type, challenge, origin, crossOrigin: false }))
  return {
    counter: 0,
    register(challenge, { origin, rpId }) {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(id.length)
      const data = Buffer.concat([dataFor(rpId, present | attested, 0), Buffer.alloc(16), length, id, key])
      const object = isoCBOR.encode(
        new Map<string, string | Map<string, string> | Uint8Array<ArrayBuffer>>([
          ['fmt', 'none'],
          ['attStmt', new Map()],
          ['authData', new Uint8Array(data)],
        ]),
      )
      return {
        ...credential,
        response: {
          clientDataJSON: client('webauthn.create', challenge, origin).toString('base64url'),
          attestationObject: Buffer.from(object).toString('base64url'),
        },
      }
    },
    assert(challenge, { origin, rpId }) {
      this.counter += 1
      const data = dataFor(rpId, present, this.counter)
      const said = client('webauthn.get', challenge, origin)
      return {
        ...credential,
        response: {
          clientDataJSON: said.toString('base64url'),
          authenticatorData: data.toString('base64url'),
          signature: sign('sha256', Buffer.concat([data, sha256(said)]), privateKey).toString('base64url'),
        },
      }
    },
  }
}

function sha256(data: string | Buffer): Buffer {
  return createHash('sha256').update(data).digest()
}
