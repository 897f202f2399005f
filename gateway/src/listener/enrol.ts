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

export interface EnrolDeps {
  /** What a device should trust, PEM, the one in use first. */
  roots(): Promise<readonly string[]>
  readonly ca: {
    readonly name: string
    readonly permitted: { readonly dns: readonly string[]; readonly ip: readonly string[] }
  }
}

const systems = ['ios', 'android', 'macos', 'windows', 'linux'] as const
type System = (typeof systems)[number]

export function createEnrol({ roots, ca }: EnrolDeps): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  const paths = ['/enrol', '/ca.crt', '/ca.mobileconfig']
  for (const path of paths)
    app.use(
      path,
      secureHeaders({
        contentSecurityPolicy: {
          defaultSrc: ["'none'"],
          styleSrc: [styleHash],
          imgSrc: ["'self'"],
          frameAncestors: ["'none'"],
        },
        referrerPolicy: 'no-referrer',
        strictTransportSecurity: false,
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
    return c.html(page({ ca, host, secure, system, roots: await roots() }), 200, {
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
  readonly roots: readonly string[]
}

const titles: Record<System, string> = {
  ios: 'iPhone and iPad',
  android: 'Android',
  macos: 'Mac',
  windows: 'Windows',
  linux: 'Linux',
}

const profile = raw('<a class="button" href="/ca.mobileconfig">Download the profile</a>')
const certificate = raw('<a class="button" href="/ca.crt">Download the certificate</a>')

/** The systems' own words for their menus, as of 2026. */
const steps: Record<System, readonly unknown[]> = {
  ios: [
    html`${profile} in Safari, and allow it.`,
    'Settings › Profile Downloaded (or General › VPN & Device Management): Install. This step alone is not enough.',
    'Settings › General › About › Certificate Trust Settings: switch the certificate on.',
  ],
  android: [
    html`${certificate}.`,
    'Settings › Security & privacy › More security settings › Encryption & credentials › Install a certificate › CA certificate: Install anyway, and choose the file.',
    'Chrome trusts it from then on. In Firefox: Settings › About Firefox, tap the logo five times, then Secret Settings › Use third party CA certificates.',
  ],
  macos: [
    html`${profile}, and open it.`,
    'System Settings › General › Device Management: install it. It asks for your password.',
    'Or in a terminal: sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ~/Downloads/sotto-ca.crt',
  ],
  windows: [
    html`${certificate}, and open it.`,
    'Install Certificate… › Local Machine › Place all certificates in the following store › Trusted Root Certification Authorities.',
    'Or as administrator: certutil -addstore -f Root %USERPROFILE%\\Downloads\\sotto-ca.crt',
  ],
  linux: [
    html`${certificate}.`,
    'Debian, Ubuntu: sudo cp sotto-ca.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates. Fedora: sudo trust anchor sotto-ca.crt.',
    'Chromium: Settings › Privacy and security › Security › Manage certificates › Custom › Import. Firefox: Settings › Certificates › View Certificates › Authorities › Import, for websites.',
    'With Sotto at hand, all in one: sudo ./sotto cert install --ca sotto-ca.crt',
  ],
}

function page({ ca, host, secure, system, roots }: Visit) {
  const { dns, ip } = ca.permitted
  const others = systems.filter((other) => other !== system)
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>Trust this gateway · Sotto</title>
        ${raw(`<style>${style}</style>`)}
      </head>
      <body>
        <main>
          <h1>Trust this gateway</h1>
          ${
            secure
              ? html`<p class="good" role="status">
                  This page came over HTTPS. If your browser showed no warning, this device trusts the gateway
                  already: <a href="/">open it</a>.
                </p>`
              : html`<p>
                  Your device does not know <strong>${ca.name}</strong> yet. Once it does, its browser lets
                  you speak to the gateway.
                </p>`
          }
          <h2>1. Compare</h2>
          <p>
            This must be what the screen of the gateway’s admin shows (<code>./sotto cert</code>). If it is
            not, stop: somebody else answers here.
          </p>
          ${roots.map((pem, index) => {
            const root = new X509Certificate(pem)
            return html`${index > 0 ? html`<p>And its successor, or predecessor, for the time of the change:</p>` : ''}
              <p class="fingerprint" aria-label="SHA-256 fingerprint">${grouped(root.fingerprint256)}</p>`
          })}
          <h2>2. Install, on ${titles[system]}</h2>
          <ol>
            ${steps[system].map((step) => html`<li>${step}</li>`)}
          </ol>
          ${others.map(
            (other) =>
              html`<details>
                <summary>${titles[other]}</summary>
                <ol>
                  ${steps[other].map((step) => html`<li>${step}</li>`)}
                </ol>
              </details>`,
          )}
          <h2>3. Check</h2>
          <p>
            <a class="button" href="https://${host}/enrol">Open this page over HTTPS</a> It must open without
            a warning.
          </p>
          <h2>What you trust it with</h2>
          <p>
            It can vouch for ${[...dns, ...ip].join(', ')} and nothing else: your device refuses it for any
            other name, even if it were stolen.
          </p>
        </main>
      </body>
    </html>`
}

/** Four groups of eight bytes, so that two people can read it to each other. */
function grouped(fingerprint: string) {
  const bytes = fingerprint.split(':')
  return [0, 8, 16, 24].map((at) => html`<span>${bytes.slice(at, at + 8).join(' ')}</span>`)
}

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
li { margin: .75rem 0; overflow-wrap: anywhere; }
details { border-top: 1px solid light-dark(#e7e5e4, #292524); padding: .5rem 0; }
summary { cursor: pointer; padding: .25rem 0; }
code { font-family: ui-monospace, monospace; }
`
const styleHash = `'sha256-${createHash('sha256').update(style).digest('base64')}'`
