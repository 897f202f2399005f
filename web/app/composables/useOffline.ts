import { unreachable } from '~/gateway/ask'

/** Whether the gateway can't be reached: what is shown was seen last, and nothing can be sent. */
export function useOffline(): Readonly<Ref<boolean>> {
  const { connection } = useConnection()
  return computed(() => connection.value !== 'open' && unreachable.value)
}
