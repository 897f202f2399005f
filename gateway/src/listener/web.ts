/** The web app: static files, and the policy that keeps them to this origin. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
import { secureHeaders } from 'hono/secure-headers'

const pagePaths = [
  '/',
  '/c/:id',
  '/devices',
  '/link',
  '/account',
  '/welcome',
  '/settings',
  '/admin',
  '/admin/:page',
] as const

/** @param directory what `nuxt generate` made; where it is missing, a page says how to make it. */
export function createWeb(directory: string): Hono {
  const index = join(directory, 'index.html')
  const page = existsSync(index) ? readFileSync(index, 'utf8') : notBuilt
  const web = new Hono()
  web.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'self'"],
        scriptSrc: ["'self'", ...inlineScriptHashes(page)],
        // Nuxt UI writes its colours as an inline style element.
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", 'data:', 'blob:'],
        connectSrc: ["'self'"],
        // What opens the page while the gateway is out of reach, and what makes an app of it.
        workerSrc: ["'self'"],
        manifestSrc: ["'self'"],
        frameAncestors: ["'none'"],
        formAction: ["'self'"],
        baseUri: ["'self'"],
        objectSrc: ["'none'"],
      },
      permissionsPolicy: { microphone: ['self'], camera: [], geolocation: [] },
      referrerPolicy: 'no-referrer',
      // Pinning HTTPS to an address would outlive the gateway that had it.
      strictTransportSecurity: false,
    }),
  )
  // One page draws them all, in the browser.
  for (const path of pagePaths) web.get(path, (c) => c.html(page, 200, { 'Cache-Control': 'no-cache' }))
  web.use(
    '*',
    serveStatic({
      root: directory,
      precompressed: true,
      onFound: (path, c) => {
        // Names under _nuxt carry a hash of their content.
        const kept = path.includes('/_nuxt/') && !path.includes('/builds/')
        c.header('Cache-Control', kept ? 'public, max-age=31536000, immutable' : 'no-cache')
      },
    }),
  )
  // The page itself says that there is no such page, and leads back.
  web.notFound((c) =>
    wantsPage(c.req.raw) ? c.html(page, 404, { 'Cache-Control': 'no-cache' }) : c.body(null, 404),
  )
  return web
}

/** Whether it is somebody's browser that goes to an address. */
export function wantsPage({ method, headers }: Request): boolean {
  return method === 'GET' && Boolean(headers.get('accept')?.includes('text/html'))
}

/** CSP sources for the scripts that stand in the page itself, so that no other inline script runs. */
export function inlineScriptHashes(html: string): string[] {
  const scripts = html.matchAll(/<script(?![^>]*\ssrc=)[^>]*>([\s\S]*?)<\/script>/g)
  return [...scripts].map(([, text = '']) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`)
}

const notBuilt = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Sotto</title>
<p>The web app is not built. Run <code>npm start</code>, or <code>pnpm build</code>, then reload.</p></html>`
