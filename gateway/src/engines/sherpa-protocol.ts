/** What the gateway and the process of the embedded engine say to each other. */
import type { ModelParts } from './models.ts'

/** What the process is told first. */
export interface SherpaConfig {
  /** The model's folder. */
  readonly folder: string
  readonly parts: ModelParts
  readonly multilingual: boolean
  readonly threads: number
}

export type SherpaWish =
  | { readonly type: 'hear'; readonly samples: Int16Array; readonly language: string }
  | { readonly type: 'say'; readonly text: string; readonly speaker: number; readonly speed: number }

/** Each has the number of the wish that it belongs to. */
export type SherpaRequest = { readonly id: number } & (
  | { readonly type: 'open'; readonly config: SherpaConfig }
  | SherpaWish
  | { readonly type: 'stop' }
)

export type SherpaReply = { readonly id: number } & (
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'sound'; readonly samples: Int16Array; readonly sampleRate: number }
  | { readonly type: 'done' }
  /** The message is for people, the detail for the log. */
  | { readonly type: 'failed'; readonly message: string; readonly detail: string }
)
