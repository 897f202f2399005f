export default defineNuxtConfig({
  compatibilityDate: '2026-11-01',
  modules: ['@nuxt/ui'],
  // Static files: the gateway serves them, and the page begins in the browser.
  ssr: false,
  devtools: { enabled: false },
  telemetry: false,
  // The manifest is fetched to notice a new release; a reload does that here.
  experimental: { appManifest: false },
  css: ['~/assets/main.css'],
  // Nothing leaves the origin: no web fonts, and icons come with the bundle.
  ui: { fonts: false },
  icon: {
    provider: 'none',
    fallbackToApi: false,
    clientBundle: { scan: true, icons: ['lucide:monitor', 'lucide:sun', 'lucide:moon'] },
  },
  runtimeConfig: {
    // Another gateway's wss:// address, where the app runs apart: NUXT_PUBLIC_WS_URL.
    public: { wsUrl: '' },
  },
  app: {
    head: {
      title: 'Sotto',
      htmlAttrs: { lang: 'en' },
      meta: [
        {
          name: 'viewport',
          content:
            'width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content',
        },
        { name: 'description', content: 'Talk to your own AI, over your own network.' },
        { name: 'theme-color', media: '(prefers-color-scheme: light)', content: '#fafaf9' },
        { name: 'theme-color', media: '(prefers-color-scheme: dark)', content: '#0c0a09' },
      ],
      link: [{ rel: 'icon', type: 'image/svg+xml', href: '/favicon.svg' }],
    },
  },
  nitro: { compressPublicAssets: true },
})
