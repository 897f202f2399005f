/** What Ollama's models can do, asked once for each: in the background, since no answer waits for it. */
import { z } from 'zod'
import type { ModelDetails } from '#protocol/events.ts'
import type { Model } from './backend.ts'

export interface DetailsBook {
  /** Undefined while it is not known. */
  of(model: Model): ModelDetails | undefined
  /** How Ollama is told whether to think; undefined where the model decides by itself, or it is not known. */
  thought(model: Model, wanted: boolean): boolean | string | undefined
  /** Asks about those that are not known. Never throws. */
  learn(models: readonly Model[]): Promise<void>
}

/** Before a model is asked about again that told nothing. */
const patienceMs = 60_000

/** Those of an Ollama that is too old to tell have none. Source: `ShowResponse` in `api/types.go` of Ollama. */
const shown = z
  .object({
    capabilities: z.array(z.string()),
    model_info: z.record(z.string(), z.unknown()).default({}),
    /** Some think more or less, and not not at all. */
    thinking: z.object({ values: z.array(z.union([z.boolean(), z.string()])) }).optional(),
  })
  .transform(({ capabilities, model_info: info, thinking }): Known => {
    const context = info[`${String(info['general.architecture'])}.context_length`]
    const thoughts = thinking?.values ?? (capabilities.includes('thinking') ? [true, false] : [])
    return {
      details: {
        vision: capabilities.includes('vision'),
        thinking: thoughts.some((value) => value !== false),
        contextTokens: typeof context === 'number' ? context : null,
      },
      thoughts,
    }
  })

interface Known {
  readonly details: ModelDetails
  /** What it may be told of thinking. */
  readonly thoughts: readonly (boolean | string)[]
}

/**
 * @param show the answer to `/api/show` for a model
 * @param changed called after each that was learned
 */
export function createDetailsBook(
  show: (name: string) => Promise<unknown>,
  changed: () => void,
): DetailsBook {
  const known = new Map<string, Known>()
  const failed = new Map<string, number>()
  let learning = false
  return {
    of: (model) => known.get(keyOf(model))?.details,
    thought(model, wanted) {
      const found = known.get(keyOf(model))
      // One that can't think refuses to be told to.
      if (!found?.details.thinking) return undefined
      return found.thoughts.find((value) => value === wanted || (!wanted && value === 'low'))
    },
    async learn(models) {
      if (learning) return
      learning = true
      for (const model of models) {
        const key = keyOf(model)
        if (known.has(key) || (failed.get(key) ?? -Infinity) > performance.now() - patienceMs) continue
        const read = shown.safeParse(await show(model.name).catch(() => undefined))
        if (!read.success) failed.set(key, performance.now())
        else {
          known.set(key, read.data)
          changed()
        }
      }
      learning = false
    },
  }
}

/** A name may come to mean another model; its digest does not. */
function keyOf({ name, digest }: Model): string {
  return typeof digest === 'string' ? digest : name
}
