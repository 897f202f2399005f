import type { Room } from '@sotto/gateway/protocol/rooms.ts'
import { ask, Refused } from '~/gateway/ask'
import { modelName } from '~/rooms/messages'

export interface Mention {
  readonly name: string
  readonly kind: 'assistant' | 'model' | 'person'
}

interface ModelList {
  readonly data: readonly { readonly id: string }[]
}

const models = shallowRef<readonly string[]>()

/** Who may be called in a room by an `@`: the assistant by its name or a model's, and people. */
export function useMentions(room: () => Room | undefined) {
  async function look(): Promise<void> {
    if (models.value) return
    try {
      models.value = (await ask<ModelList>('GET', '/v1/models')).data.map(({ id }) => id)
    } catch (error) {
      // Then the assistant is called by its own name.
      if (!(error instanceof Refused)) throw error
    }
  }
  const all = computed((): readonly Mention[] => [
    { name: 'sotto', kind: 'assistant' },
    ...(room()?.members ?? []).map(({ name }) => ({ name, kind: 'person' as const })),
    ...(room()?.gateways ?? []).flatMap(({ state, people }) =>
      state === 'joined' ? people.map((name) => ({ name, kind: 'person' as const })) : [],
    ),
    ...(models.value ?? []).map((name) => ({
      name: modelName(name),
      kind: 'model' as const,
    })),
  ])
  return { all, models: readonly(models), look }
}
