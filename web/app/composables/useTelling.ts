import { Refused } from '~/gateway/ask'

export interface Told {
  readonly message: string
  readonly remedy: string
}

/** Says what was done and what was refused, in the chosen language. */
export function useTelling() {
  const { t } = useI18n()
  const toast = useToast()

  function words(error: unknown): Told {
    if (error instanceof Refused && error.message !== '') return error
    const code = error instanceof Refused && error.code === 'unreachable' ? 'unreachable' : 'unexpected'
    return { message: t(`admin.refused.${code}.message`), remedy: t(`admin.refused.${code}.remedy`) }
  }

  function tell(error: unknown): void {
    const { message, remedy } = words(error)
    toast.add({ title: message, description: remedy, color: 'error', icon: 'i-lucide-circle-alert' })
  }

  /** Says that something was done, with a button that takes it back. */
  function done(title: string, undo?: () => unknown): void {
    const actions = undo
      ? [
          {
            label: t('admin.undo'),
            color: 'neutral',
            variant: 'outline',
            size: 'xl',
            onClick: () => void undo(),
          } as const,
        ]
      : []
    // Long enough to read it and to reach the button by keyboard.
    toast.add({ title, icon: 'i-lucide-circle-check', actions, duration: undo ? 10_000 : 5_000 })
  }

  return { words, tell, done }
}
