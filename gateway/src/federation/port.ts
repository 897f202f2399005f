/** The relay's side of one connection: nothing is heard until it says who it is, and that is said in time. */
import type { Clock } from './clock.ts'
import {
  authMs,
  maxFrameLength,
  readSent,
  relayError,
  type Auth,
  type Participant,
  type Request,
} from './frames.ts'

/** One end of a connection, as the relay sees it. */
export interface Wire {
  /** Never waits, and never throws: a wire that is full cuts its connection. */
  send(frame: string): void
  close(): void
}

export interface Port {
  receive(frame: string): void
  /** The connection is over. */
  gone(): void
}

/** Who a connection turned out to be. */
export interface Admitted {
  readonly meshId: string
  /** Takes its place among the others. */
  sit(): void
  /** It said once more who it is, and what it has. */
  again(rooms: readonly string[], participants: readonly Participant[]): void
  take(frame: Request): void
  leave(): void
}

export interface PortDeps {
  /** Undefined for nobody. */
  admit(auth: Auth, send: (frame: object | string) => void): Promise<Admitted | undefined>
  readonly clock: Clock
}

/** While a secret is verified, frames wait. */
const mostWaiting = 64
/** Of one that does not say who it is. */
const strangerFrames = 8

export function openPort(wire: Wire, { admit, clock }: PortDeps): Port {
  let mesh: Admitted | undefined
  let over = false
  let verifying = false
  let strange = 0
  const waiting: string[] = []
  const send = (frame: object | string): void =>
    wire.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  const refuse = (message: string): void => {
    over = true
    waiting.length = 0
    stopWaiting()
    send({ type: 'gateway_auth_error', message })
    wire.close()
  }
  const stopWaiting = clock.after(authMs, () => refuse('Auth timeout'))
  const authenticate = async (auth: Auth): Promise<void> => {
    verifying = true
    // From here on it is us who take the time.
    stopWaiting()
    const admitted = await admit(auth, send)
    verifying = false
    if (over) return
    if (!admitted) return refuse('Invalid credentials')
    mesh = admitted
    mesh.sit()
    for (const frame of waiting.splice(0)) receive(frame)
  }
  const take = (frame: ReturnType<typeof readSent>): void => {
    if (mesh && frame?.type === 'gateway_auth') {
      // Another mesh over this connection would leave the first one without any.
      if (mesh.meshId === frame.meshId) mesh.again(frame.publicRooms, frame.participants)
      else send(relayError(`Already authenticated as ${mesh.meshId}`))
    } else if (mesh) {
      if (frame && frame.type !== 'gateway_auth') mesh.take(frame)
    } else if (frame?.type === 'gateway_auth') void authenticate(frame)
    else {
      strange += 1
      if (strange > strangerFrames) refuse('Not authenticated')
      else if (frame) send({ type: 'gateway_auth_error', message: 'Not authenticated' })
    }
  }
  const receive = (text: string): void => {
    if (over) return
    if (verifying) {
      if (waiting.length < mostWaiting) waiting.push(text)
      else refuse('Not authenticated')
    } else if (text.length > maxFrameLength)
      send(relayError(`Payload too large (max ${maxFrameLength} bytes)`))
    else take(readSent(text))
  }
  return {
    receive,
    gone() {
      over = true
      stopWaiting()
      waiting.length = 0
      mesh?.leave()
    },
  }
}
