/** What a joined device keeps of its network: its own keys, and what the hub told it last. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import writeFileAtomic from 'write-file-atomic'
import { z } from 'zod'
import { networkView } from '#enrolment/exchange.ts'
import { Problem } from '../problem.ts'

const schema = z.object({
  v: z.literal(1),
  /** `https://…` of the gateway. */
  origin: z.url(),
  /** The network's CA, PEM. */
  rootCertificate: z.string(),
  /** Of the interface to the hub: name, private key, UDP port. */
  interface: z.string(),
  privateKey: z.string(),
  listenPort: z.number(),
  /** Of the interface for direct paths, which has the name of the other and a `d`. */
  directPrivateKey: z.string(),
  directListenPort: z.number(),
  view: networkView,
})

export type Membership = z.infer<typeof schema>

/** Undefined where this machine did not join. Throws a `Problem` for a damaged file. */
export async function readMembership(directory: string): Promise<Membership | undefined> {
  const text = await readFile(fileIn(directory), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new Problem(
      'membership_unreadable',
      `${fileIn(directory)} can't be read (${error.code}).`,
      'Run it as root.',
    )
  })
  if (text === undefined) return undefined
  const read = schema.safeParse(parse(text))
  if (read.success) return read.data
  throw new Problem(
    'membership_damaged',
    `${fileIn(directory)} is damaged.`,
    'Move it away and join again with a new link.',
  )
}

/** The directory is private already: `wg`'s short-lived files are made in it, too. */
export async function writeMembership(directory: string, membership: Membership): Promise<void> {
  await writeFileAtomic(fileIn(directory), `${JSON.stringify(membership)}\n`, { mode: 0o600 })
}

function fileIn(directory: string): string {
  return join(directory, 'membership.json')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
