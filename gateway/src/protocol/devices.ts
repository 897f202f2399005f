/** What the gateway tells of devices and enrolment, as the web app and others read it. */

/** `GET /sotto/devices`: one's own, and for the admin everyone's. */
export interface DeviceList {
  readonly devices: readonly DeviceStatus[]
}

export interface DeviceStatus {
  readonly id: string
  readonly name: string
  readonly person: string
  readonly address4: string
  readonly address6: string
  readonly state: 'online' | 'offline' | 'never' | 'disabled' | 'expired'
  /** ISO 8601; null for never. */
  readonly latestHandshake: string | null
  /** `ip:port` it was last heard from. */
  readonly endpoint: string | null
  /** Bytes since it was added, seen from the hub. */
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Whether it runs `sotto join`, which can take direct paths. */
  readonly joined: boolean
  readonly expiresAt: string | null
  readonly paths: readonly PathStatus[]
}

export interface PathStatus {
  /** The other device's name. */
  readonly peer: string
  readonly state: 'direct' | 'probing' | 'relayed'
  /** Why it goes by the hub, in words; null where it does not. */
  readonly reason: string | null
  readonly since: string
}

/** `POST /sotto/enrolment` answers with 201 and this, once for each link. */
export interface EnrolmentAnswer {
  readonly device: { readonly name: string; readonly address4: string; readonly address6: string }
  /** For WireGuard; where the device made its own key, `PRIVATE_KEY` stands in its place. */
  readonly config: string
}

/** Errors of `/sotto/*`. */
export interface Refusal {
  readonly error: { readonly code: string; readonly message: string; readonly remedy: string }
}
