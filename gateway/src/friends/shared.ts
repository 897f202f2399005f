/**
 * What one gateway tells another of its models: a line of JSON whenever something of it changes, all of it in each,
 * for as long as the other one reads. No more of a model than a list shows.
 */
import { z } from 'zod'
import type { Member } from '#identity/caller.ts'
import type { Admission } from '#admission/admission.ts'
import type { EngineView } from '#engines/engine.ts'
import { friendOf } from '#protocol/model-name.ts'

/** Where the other gateway asks for it, through the tunnel. */
export const sharedPath = '/sotto/shared'

/** Nobody grants more, and a gateway that says more is none of ours. */
const mostModels = 1_000
export const maxLineBytes = 1024 * 1024

const text = z.string().max(256)
const modelName = z
  .string()
  .min(1)
  .max(256)
  // Nothing that could be taken for another friend's, or that writes over a terminal.
  .regex(/^[^@\p{Cc}]+$/u)

const model = z.object({
  name: modelName,
  modified_at: text.optional(),
  size: z.number().optional(),
  digest: text.optional(),
  details: z
    .object({
      format: text.optional(),
      family: text.optional(),
      parameter_size: text.optional(),
      quantization_level: text.optional(),
    })
    .optional()
    .catch(undefined),
})

const details = z.object({
  vision: z.boolean(),
  thinking: z.boolean(),
  contextTokens: z.number().nullable(),
})

export const shared = z.object({
  models: z.array(model).max(mostModels),
  /** By name, of those of which it is known. */
  details: z.record(z.string(), details),
})
export type Shared = z.infer<typeof shared>

/** What a friend may use now. */
export function sharedWith(
  { pool }: Pick<EngineView, 'pool'>,
  admission: Pick<Admission, 'mayUse'>,
  friend: Member,
): Shared {
  // Of an alias, what it means must be granted, too.
  const may = (name: string): boolean =>
    friendOf(name) === undefined &&
    [name, pool.resolve(name) ?? name].every((one) => admission.mayUse(friend, one))
  const models = (friend.tenant.disabledAt === null ? pool.models : [])
    .filter(({ name }) => may(name))
    .flatMap((one) => {
      const read = model.safeParse(one)
      return read.success ? [read.data] : []
    })
    .slice(0, mostModels)
  const known = pool.details
  return {
    models,
    details: Object.fromEntries(
      models.flatMap(({ name }) => {
        const found = known[name]
        return found ? [[name, found]] : []
      }),
    ),
  }
}
