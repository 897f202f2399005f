/**
 * A dialog in which something may stand that is never shown again: it is not left by accident.
 *
 * @param shown whether it stands there now
 * @param words under which the texts have what is asked of who leaves
 * @returns what closes the dialog, if it may
 */
export function useShownOnce(open: Ref<boolean>, shown: () => boolean, words: 'keys' | 'relays') {
  const { t } = useI18n()
  const sure = useSure()
  const warn = (event: BeforeUnloadEvent): void => {
    if (open.value && shown()) event.preventDefault()
  }
  onMounted(() => addEventListener('beforeunload', warn))
  onUnmounted(() => removeEventListener('beforeunload', warn))
  return async (): Promise<void> => {
    const agreed =
      !shown() ||
      (await sure({
        title: t(`${words}.leave.title`),
        consequences: [t(`${words}.leave.gone`), t(`${words}.leave.again`)],
        action: t(`${words}.leave.action`),
      }))
    if (agreed) open.value = false
  }
}
