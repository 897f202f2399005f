/** The app's pages besides the conversations, for those who may open them. */
export function usePages() {
  const { t } = useI18n()
  const { me } = useMe()
  return computed(() => [
    ...(me.value?.person
      ? [{ to: '/rooms', icon: 'i-lucide-messages-square', label: t('common.rooms') }]
      : []),
    { to: '/devices', icon: 'i-lucide-monitor-smartphone', label: t('common.devices') },
    ...(me.value?.admin ? [{ to: '/admin', icon: 'i-lucide-shield-check', label: t('common.admin') }] : []),
    { to: '/account', icon: 'i-lucide-circle-user', label: t('common.account') },
    { to: '/settings', icon: 'i-lucide-settings', label: t('common.settings') },
  ])
}
