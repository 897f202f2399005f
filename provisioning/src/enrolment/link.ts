/**
 * The text of a one-time link: an https address that a browser on the overlay opens, and that `sotto join`
 * takes anywhere. What it holds stands after the `#`, which no browser sends.
 */
import { X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { hubAddresses } from '#overlay/addresses.ts'
import { isKey } from '#overlay/keys.ts'
import type { Link, LinkSecrets } from '#registry/link.ts'
import type { Network } from '#registry/network.ts'
import { Problem } from '../problem.ts'

const key = z.string().refine(isKey)

const schema = z.object({
  v: z.literal(1),
  token: z.string().min(43),
  /** What the device will be called. */
  name: z.string(),
  /** Of the link's own place on the overlay: good for enrolling and nothing else. */
  privateKey: key,
  presharedKey: key,
  address4: z.ipv4(),
  address6: z.ipv6(),
  hub: key,
  endpoint: z.string(),
  range4: z.cidrv4(),
  range6: z.cidrv6(),
  /** Of the gateway, TCP. */
  port: z.int().min(1).max(65_535),
  /** SHA-256 of our CA's root, as in `Authority.fingerprint`. */
  fingerprint: z.string().regex(/^[0-9A-F]{2}(:[0-9A-F]{2}){31}$/),
  expires: z.iso.datetime(),
})

export type LinkContent = z.infer<typeof schema>

export interface LinkPlace {
  readonly network: Network & { readonly endpoint: string }
  readonly port: number
  /** PEM. */
  readonly rootCertificate: string
}

export function linkText(
  link: Link,
  secrets: LinkSecrets,
  { network, port, rootCertificate }: LinkPlace,
): string {
  const content: LinkContent = {
    v: 1,
    token: secrets.token,
    name: link.name,
    privateKey: secrets.privateKey,
    presharedKey: link.presharedKey,
    address4: link.address4,
    address6: link.address6,
    hub: network.publicKey,
    endpoint: network.endpoint,
    range4: network.range4,
    range6: network.range6,
    port,
    fingerprint: new X509Certificate(rootCertificate).fingerprint256,
    expires: link.expiresAt,
  }
  const { address4 } = hubAddresses(network)
  const payload = Buffer.from(JSON.stringify(content)).toString('base64url')
  return `https://${address4}${port === 443 ? '' : `:${port}`}/link#${payload}`
}

/** Throws a `Problem` for a text that is no whole link, or one whose time has passed. */
export function parseLink(text: string, now: number = Date.now()): LinkContent {
  const [, payload = ''] = /#([\w-]+)\s*$/.exec(text) ?? []
  const read = schema.safeParse(parse(Buffer.from(payload, 'base64url').toString()))
  if (!read.success)
    throw new Problem(
      'link_damaged',
      'This is no whole Sotto link.',
      'Copy all of it, from https:// to its end, and put it in quotes.',
    )
  if (Date.parse(read.data.expires) <= now)
    throw new Problem('link_expired', 'This link’s time has passed.', 'Ask for a new one.')
  return read.data
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
