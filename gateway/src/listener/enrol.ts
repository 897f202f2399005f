/**
 * `/enrol`: how a device comes to trust us. It is served without TLS too, since before that it has no reason
 * to; so the page does nothing secret, and asks to compare the fingerprint with what the admin's screen shows.
 */
import { createHash, X509Certificate } from 'node:crypto'
import { appleProfile } from '@sotto/certs/profile.ts'
import { Hono } from 'hono'
import { html, raw } from 'hono/html'
import { secureHeaders } from 'hono/secure-headers'
import type { AppEnv } from '#identity/app-env.ts'
import { systems, wordsFor, type EnrolWords, type System } from './enrol-words.ts'

export interface EnrolDeps {
  /** What a device should trust, PEM, the one in use first. */
  roots(): Promise<readonly string[]>
  readonly ca: {
    readonly name: string
    readonly permitted: { readonly dns: readonly string[]; readonly ip: readonly string[] }
  }
}

/** Of the app that is served without TLS, too: a device needs them before it trusts us. */
export const enrolPaths = ['/enrol', '/enrol/trust.svg', '/ca.crt', '/ca.mobileconfig'] as const

export function createEnrol({ roots, ca }: EnrolDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  for (const path of enrolPaths)
    app.use(
      path,
      secureHeaders({
        contentSecurityPolicy: {
          defaultSrc: ["'none'"],
          styleSrc: [styleHash],
          scriptSrc: [scriptHash],
          imgSrc: ["'self'", (c) => `https://${c.req.header('host')}`],
          frameAncestors: ["'none'"],
        },
        // The page without TLS loads the picture from the one with it.
        crossOriginResourcePolicy: path === '/enrol/trust.svg' ? 'cross-origin' : 'same-origin',
        referrerPolicy: 'no-referrer',
        strictTransportSecurity: false,
      }),
    )
  app.get('/enrol/trust.svg', (c) =>
    c.body('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>', 200, {
      'Content-Type': 'image/svg+xml',
      'Cache-Control': 'no-store',
    }),
  )
  app.get('/ca.crt', async (c) =>
    c.body((await roots()).join(''), 200, {
      'Content-Type': 'application/x-x509-ca-cert',
      'Content-Disposition': 'attachment; filename="sotto-ca.crt"',
    }),
  )
  app.get('/ca.mobileconfig', async (c) =>
    c.body(appleProfile({ roots: await roots(), name: ca.name }), 200, {
      'Content-Type': 'application/x-apple-aspen-config',
      'Content-Disposition': 'attachment; filename="sotto-ca.mobileconfig"',
    }),
  )
  app.get('/enrol', async (c) => {
    const secure = new URL(c.req.url).protocol === 'https:'
    const host = c.req.header('host') ?? ''
    const system = systemOf(c.req.header('user-agent') ?? '')
    const said = wordsFor(c.req.header('accept-language'))
    return c.html(page({ ca, host, secure, system, ...said, roots: await roots() }), 200, {
      'Cache-Control': 'no-store',
    })
  })
  return app
}

/** What a device that speaks no TLS yet may see; the rest is sent to https. */
export function createPlain(enrol: Hono<AppEnv>): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  app.route('/', enrol)
  app.get('*', (c) => c.redirect(`https://${c.req.header('host')}${c.req.path}`, 308))
  app.all('*', (c) =>
    c.json({ error: 'This gateway speaks HTTPS. Use https:// in place of http://.' }, 426, {
      Upgrade: 'TLS/1.2',
    }),
  )
  return app
}

/** From what the browser says; iPads that pass for a Mac find their steps below. */
function systemOf(userAgent: string): System {
  if (/iPhone|iPad|iPod/.test(userAgent)) return 'ios'
  if (/Android/.test(userAgent)) return 'android'
  if (/Macintosh/.test(userAgent)) return 'macos'
  return /Windows/.test(userAgent) ? 'windows' : 'linux'
}

interface Visit extends Pick<EnrolDeps, 'ca'> {
  readonly host: string
  readonly secure: boolean
  readonly system: System
  /** BCP 47. */
  readonly language: string
  readonly words: EnrolWords
  readonly roots: readonly string[]
}

function page({ ca, host, secure, system, language, words, roots }: Visit) {
  const { dns, ip } = ca.permitted
  const others = systems.filter((other) => other !== system)
  return html`<!doctype html>
    <html lang="${language}">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${words.title} · Sotto</title>
        ${raw(`<style>${style}</style>`)}
      </head>
      <body>
        <main>
          <h1>${words.title}</h1>
          ${
            secure
              ? html`<p class="good" role="status">${words.secure}</p>`
              : html`<p>${words.unknown(ca.name)}</p>`
          }
          <h2>1. ${words.compare}</h2>
          <p>${words.compareHow}</p>
          ${roots.map((pem, index) => {
            const root = new X509Certificate(pem)
            return html`${index > 0 ? html`<p>${words.other}</p>` : ''}
              <p class="fingerprint">${grouped(root.fingerprint256)}</p>`
          })}
          <h2>2. ${words.install(words.systems[system])}</h2>
          <ol>
            ${words.steps[system].map((step) => html`<li>${step}</li>`)}
          </ol>
          ${others.map(
            (other) =>
              html`<details>
                <summary>${words.systems[other]}</summary>
                <ol>
                  ${words.steps[other].map((step) => html`<li>${step}</li>`)}
                </ol>
              </details>`,
          )}
          <h2>3. ${words.check}</h2>
          ${
            secure
              ? html`<p><a class="button" href="/welcome">${words.goOn}</a> ${words.checkSecure}</p>`
              : checked(host, words)
          }
          <h2>${words.scope}</h2>
          <p>${words.scopeHow([...dns, ...ip].join(', '))}</p>
        </main>
      </body>
    </html>`
}

/** Looks by itself; without scripts it is a link. */
function checked(host: string, words: EnrolWords) {
  return html`<div id="check" data-origin="https://${host}">
      <p data-when="unknown">
        <a class="button" href="https://${host}/enrol">${words.open}</a> ${words.openHow}
      </p>
      <p data-when="waiting" class="note" role="status" hidden><span class="dot"></span> ${words.waiting}</p>
      <p data-when="trusted" class="good" role="status" hidden>
        ${words.trusted} <a class="button" href="https://${host}/welcome">${words.goOn}</a>
      </p>
    </div>
    ${raw(`<script>${script}</script>`)}`
}

/** Four groups of eight bytes, so that two people can read it to each other. */
function grouped(fingerprint: string) {
  const bytes = fingerprint.split(':')
  return [0, 8, 16, 24].map((at) => html`<span>${bytes.slice(at, at + 8).join(' ')}</span>`)
}

/**
 * A browser loads a picture over HTTPS only when it trusts the certificate: so this page, which came without
 * TLS, finds out. Where it came with it, a warning may have been clicked away, and only `/welcome` can tell.
 * ES5, since old phones are enrolled, too.
 */
const script = `
(function () {
  var check = document.getElementById('check')
  function show(state) {
    var parts = check.querySelectorAll('[data-when]')
    for (var i = 0; i < parts.length; i++) parts[i].hidden = parts[i].getAttribute('data-when') !== state
    check.setAttribute('data-state', state)
  }
  function look() {
    var picture = new Image()
    picture.onload = function () { show('trusted') }
    picture.onerror = function () { show('waiting'); setTimeout(look, 2000) }
    picture.src = check.getAttribute('data-origin') + '/enrol/trust.svg?' + Date.now()
  }
  look()
})()
`
const scriptHash = `'sha256-${createHash('sha256').update(script).digest('base64')}'`

const style = `
:root { color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif; --accent: light-dark(#0f766e, #5eead4); --soft: light-dark(#f5f5f4, #1c1917); }
body { margin: 0; background: light-dark(#fafaf9, #0c0a09); color: light-dark(#1c1917, #e7e5e4); }
main { max-width: 42rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.125rem; margin: 2rem 0 .5rem; }
a { color: var(--accent); }
.fingerprint { display: grid; gap: .25rem; padding: 1rem; border-radius: .75rem; background: var(--soft); font: 600 clamp(1rem, 4.6vw, 1.5rem)/1.5 ui-monospace, monospace; }
.button { display: inline-block; padding: .5rem 1rem; border-radius: .5rem; background: var(--accent); color: light-dark(#fff, #042f2e); font-weight: 600; text-decoration: none; }
.good { padding: .75rem 1rem; border-radius: .75rem; background: var(--soft); border-inline-start: 4px solid var(--accent); }
.good .button { margin-inline-start: .5rem; }
.note { padding: .75rem 1rem; border-radius: .75rem; background: var(--soft); }
.dot { display: inline-block; width: .625rem; height: .625rem; margin-inline-end: .25rem; border-radius: 50%; background: light-dark(#b45309, #fbbf24); animation: pulse 2s ease-in-out infinite; }
[hidden] { display: none; }
@keyframes pulse { 50% { opacity: .3; } }
@media (prefers-reduced-motion: reduce) { .dot { animation: none; } }
li { margin: .75rem 0; overflow-wrap: anywhere; }
details { border-top: 1px solid light-dark(#e7e5e4, #292524); padding: .5rem 0; }
summary { cursor: pointer; padding: .25rem 0; }
code { font-family: ui-monospace, monospace; }
`
const styleHash = `'sha256-${createHash('sha256').update(style).digest('base64')}'`
