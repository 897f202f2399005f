/** What the talkers are told, and what they tell. */
import { z } from 'zod'

export const wish = z.object({
  url: z.string(),
  /** A file. */
  ca: z.string().optional(),
  /** The gateway's own, OpenAI's, or bare samples both ways, as the peer takes them. */
  protocol: z.enum(['ours', 'openai', 'samples']),
  /** Files of PCM16 mono at 16 kHz. */
  recordings: z.array(z.string()),
  sessions: z.int(),
  turns: z.int(),
  /** The silence that ends a turn, ms. */
  silenceMs: z.int(),
  /** Each turn but the first begins while the answer to the one before is heard. */
  interrupts: z.boolean(),
  /** What says by which chunk each pause in a file of samples is whole; left out, the gateway's model does. */
  listener: z.array(z.string()).optional(),
})

const turn = z.object({
  /** When the last frame with speech in it was sent, and those that made 200 ms of silence full, and all of it. */
  spoken: z.number(),
  paused: z.number(),
  ended: z.number(),
  /** When the frame was sent that made 320 ms of speech full, where that interrupts. */
  sustained: z.number().optional(),
})

export const seen = z.object({
  sessions: z.array(
    z.object({
      turns: z.array(turn),
      /** When the first sound of the answer to a turn came; of the peer, of each answer. */
      sounds: z.array(z.object({ turn: z.string(), at: z.number() })),
      hushes: z.array(z.number()),
      failures: z.array(z.string()),
    }),
  ),
  /** Sessions times seconds. */
  talkedSeconds: z.number(),
  /** How late this process is itself, ms. */
  delayP99: z.number(),
})

export type Wish = z.infer<typeof wish>
export type Seen = z.infer<typeof seen>

/** Of each engine. */
export const moments = z.array(z.object({ turn: z.string(), asked: z.number(), answered: z.number() }))
