const areas = [
  'common',
  'chat',
  'history',
  'talk',
  'welcome',
  'admin',
  'devices',
  'people',
  'account',
  'keys',
  'rules',
  'records',
  'relays',
  'grants',
  'settings',
  'rooms',
]
const filesOf = (locale: string): string[] => areas.map((area) => `${locale}/${area}.json`)

/** `pnpm dev` draws the page of a gateway that runs elsewhere; its certificate is trusted by NODE_EXTRA_CA_CERTS. */
const gateway = (process.env.SOTTO_GATEWAY ?? 'https://127.0.0.1:8443').replace(/\/+$/, '')
const onThisMachine = ['127.0.0.1', '[::1]', 'localhost'].includes(new URL(gateway).hostname)
/** The gateway takes what comes for a request of its own page. */
const proxied = (path: string) => ({
  target: `${gateway}${path}`,
  changeOrigin: true,
  headers: { origin: gateway },
  secure: !onThisMachine,
  ws: path === '/v1',
})
const gatewayPaths = ['/v1', '/sotto', '/health', '/enrol', '/ca.crt', '/ca.mobileconfig']

export default defineNuxtConfig({
  compatibilityDate: '2026-11-01',
  modules: ['@nuxt/ui', '@nuxtjs/i18n', '@vite-pwa/nuxt'],
  // Static files: the gateway serves them, and the page begins in the browser.
  ssr: false,
  // On a slow network one sees whose page comes, not an empty one.
  spaLoadingTemplate: true,
  devtools: { enabled: false },
  telemetry: false,
  // The manifest is fetched to notice a new release; a reload does that here.
  experimental: {
    appManifest: false,
    // A page that may never be opened is loaded when somebody points at its link, not with the first one.
    defaults: { nuxtLink: { prefetchOn: { interaction: true, visibility: false } } },
  },
  css: ['~/assets/main.css'],
  // Nothing leaves the origin: no web fonts, and icons come with the bundle.
  ui: { fonts: false },
  icon: {
    provider: 'none',
    fallbackToApi: false,
    // Names of others are not looked for: each icon would go through two hundred of them.
    collections: ['lucide'],
    // Composables name some, too.
    clientBundle: {
      scan: { globInclude: ['**/*.{vue,ts}'] },
      icons: ['lucide:monitor', 'lucide:sun', 'lucide:moon'],
    },
  },
  // A language is a folder of `i18n/locales`, loaded when it is chosen; its words are compiled, not interpreted.
  i18n: {
    strategy: 'no_prefix',
    defaultLocale: 'en',
    locales: [
      { code: 'en', language: 'en', name: 'English', files: filesOf('en') },
      { code: 'de', language: 'de', name: 'Deutsch', files: filesOf('de') },
    ],
    bundle: { runtimeOnly: true, dropMessageCompiler: true },
    detectBrowserLanguage: { useCookie: true, cookieKey: 'sotto-language' },
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
      link: [
        { rel: 'icon', type: 'image/svg+xml', href: '/favicon.svg' },
        { rel: 'apple-touch-icon', href: '/apple-touch-icon.png' },
        { rel: 'manifest', href: '/manifest.webmanifest' },
      ],
    },
  },
  // The page as an app of its own, which opens while the gateway is out of reach.
  pwa: {
    registerType: 'prompt',
    // `useNewVersion` registers it, when the page has nothing else to do.
    client: { registerPlugin: false },
    manifest: {
      id: '/',
      name: 'Sotto',
      short_name: 'Sotto',
      description: 'Talk to your own AI, over your own network.',
      start_url: '/',
      display: 'standalone',
      background_color: '#fafaf9',
      theme_color: '#0f766e',
      icons: [
        { src: '/icon-192.png', sizes: '192x192', type: 'image/png' },
        { src: '/icon-512.png', sizes: '512x512', type: 'image/png' },
        { src: '/icon-maskable-512.png', sizes: '512x512', type: 'image/png', purpose: 'maskable' },
      ],
    },
    workbox: {
      // Under its own name: what asks for `/` and is no browser is told that Ollama runs.
      navigateFallback: '/index.html',
      navigateFallbackAllowlist: [/^\/$/, /^\/(c|rooms|devices|settings|admin)(\/|$)/],
      globPatterns: ['index.html', 'favicon.svg', '_nuxt/**/*.{js,css}', 'worklets/*.js'],
      manifestTransforms: [(entries) => ({ manifest: entries, warnings: [] })],
    },
  },
  hooks: {
    // What is loaded when it is wanted is not fetched ahead by the document: on a phone it is in the way.
    'build:manifest': (manifest) => {
      for (const part of Object.values(manifest)) part.dynamicImports = []
    },
  },
  vite: {
    build: {
      rolldownOptions: {
        output: {
          // The first view in one file, and each other language in one: fifty small ones take a phone's slow
          // network ten times there and back.
          codeSplitting: {
            groups: [
              {
                name: 'first',
                test: /nuxt\/dist\/app\/entry|layouts\/default\.vue|pages\/index\.vue|locales\/en\//,
              },
              { name: 'words', test: /locales\/de\// },
            ],
          },
        },
      },
    },
  },
  nitro: {
    compressPublicAssets: true,
    devProxy: Object.fromEntries(gatewayPaths.map((path) => [path, proxied(path)])),
  },
})
