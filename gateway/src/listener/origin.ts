/**
 * Where a request says it goes and comes from. The address alone is no proof of intent: a page elsewhere can
 * ride a device's address (cross-site WebSocket hijacking), and a name elsewhere can point at ours (DNS
 * rebinding). So `Host` must be ours, and `Origin`, where a browser sends one, too.
 */
export type OriginVerdict =
  /** `crossOrigin`: the page’s, where it is another one that the admin lets in. */
  | { readonly allow: true; readonly crossOrigin: string | undefined }
  | {
      readonly allow: false
      readonly code: 'forbidden' | 'misdirected'
      readonly status: 403 | 421
      readonly message: string
    }

export interface OwnNames {
  /** `host:port` as browsers write it; the port is left out where it is 443. */
  readonly hosts: ReadonlySet<string>
  /** Origins of pages elsewhere that the admin lets in. */
  readonly origins: ReadonlySet<string>
}

/** Every name and address that this gateway answers to, at this port. */
export function ownNames(names: readonly string[], port: number, origins: readonly string[] = []): OwnNames {
  const suffix = port === 443 ? '' : `:${port}`
  return {
    hosts: new Set(names.map((name) => `${name.includes(':') ? `[${name}]` : name}${suffix}`)),
    origins: new Set(origins),
  }
}

export function checkOrigin(
  own: OwnNames,
  host: string | undefined,
  origin: string | undefined,
): OriginVerdict {
  if (host === undefined || !own.hosts.has(host.toLowerCase()))
    return {
      allow: false,
      code: 'misdirected',
      status: 421,
      message: 'This gateway does not answer to that Host. Use an address that `./sotto status` shows.',
    }
  if (origin === undefined || own.hosts.has(origin.replace(/^https:\/\//, '')))
    return { allow: true, crossOrigin: undefined }
  if (!own.origins.has(origin))
    return {
      allow: false,
      code: 'forbidden',
      status: 403,
      message: 'A page from another origin may not use this gateway. Open its own address.',
    }
  return { allow: true, crossOrigin: origin }
}
