/** Where the gateway is: this page's own origin, or another one's where the app runs apart (`NUXT_PUBLIC_WS_URL`). */
export function useGateway() {
  const { wsUrl } = useRuntimeConfig().public
  const base = wsUrl.replace(/\/+$/, '')
  return {
    /** Admin's pages want its own origin: elsewhere their cookie is not sent. */
    apart: base !== '',
    /** Its https origin. */
    origin: base === '' ? location.origin : base.replace(/^ws/, 'http'),
    /** For `fetch`. */
    url: (path: string): string => `${base.replace(/^ws/, 'http')}${path}`,
    /** For a WebSocket. */
    socket: (path: string): string => `${base || location.origin.replace(/^http/, 'ws')}${path}`,
  }
}
