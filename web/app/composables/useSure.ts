import { LazySureDialog } from '#components'

export interface Question {
  readonly title: string
  /** What will happen, each in a sentence. */
  readonly consequences: readonly string[]
  readonly action: string
  /** How it can be taken back, where it can. */
  readonly undone?: string
}

/** Asks before what ends something. */
export function useSure() {
  const overlay = useOverlay()
  return async (question: Question): Promise<boolean> => {
    const dialog = overlay.create(LazySureDialog, { destroyOnClose: true })
    return (await dialog.open(question).result) === true
  }
}
