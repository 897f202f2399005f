/** What a lender says of itself when it is connected: what it lends, and on what hardware. */
import { z } from 'zod'

/** Where the gateway asks for it, through the tunnel. */
export const offerPath = '/sotto/offer'
/** A lender's, and a service's: it stands in addresses. */
export const lenderName = /^[a-z0-9][a-z0-9-]{0,31}$/

const text = z.string().max(200)
const bytes = z.number().min(0)

export const hardware = z.object({
  /** For people: `Linux 6.8 x64` */
  system: text,
  cpu: z.object({ model: text, cores: z.int().min(0) }),
  memoryBytes: bytes,
  gpus: z.array(z.object({ name: text, memoryBytes: bytes.nullable() })).max(32),
})
export type Hardware = z.infer<typeof hardware>

export const offer = z.object({
  /** Of the program. */
  version: text,
  ollama: z.boolean(),
  whisper: z.boolean(),
  /** Names of further services. */
  services: z.array(z.string().regex(lenderName)).max(64),
  /** Requests to its models that it answers at once. */
  parallel: z.int().min(1).max(1_024),
  hardware,
})
export type Offer = z.infer<typeof offer>
