import type { Connection } from '~/realtime/link'

/** The connection of the page's session, for what stands outside of it; undefined where the page has none. */
export function useConnection() {
  const connection = useState<Connection | undefined>('connection')
  /** Tells of a session's connection for as long as its page is shown. */
  function share(own: Ref<Connection>): void {
    watchEffect(() => (connection.value = own.value))
    onScopeDispose(() => (connection.value = undefined))
  }
  return { connection: readonly(connection), share }
}
