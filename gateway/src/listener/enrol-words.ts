/** What `/enrol` says, in each of its languages. Menus are called as the systems call them, as of 2026. */
import { html, raw } from 'hono/html'

export const systems = ['ios', 'android', 'macos', 'windows', 'linux'] as const
export type System = (typeof systems)[number]

type Html = ReturnType<typeof html>

export interface EnrolWords {
  readonly title: string
  readonly unknown: (ca: string) => Html
  readonly secure: Html
  readonly compare: string
  readonly compareHow: Html
  readonly other: string
  readonly install: (system: string) => string
  readonly systems: Readonly<Record<System, string>>
  readonly steps: Readonly<Record<System, readonly (Html | string)[]>>
  readonly check: string
  readonly checkSecure: Html
  readonly open: string
  readonly openHow: string
  readonly waiting: string
  readonly trusted: Html
  readonly goOn: string
  readonly scope: string
  readonly scopeHow: (names: string) => string
}

const button = (path: string, text: string) => raw(`<a class="button" href="${path}">${text}</a>`)
const profile = '/ca.mobileconfig'
const certificate = '/ca.crt'
const names = { ios: 'iPhone und iPad', android: 'Android', macos: 'Mac', windows: 'Windows', linux: 'Linux' }

const terminals = {
  macos:
    'sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ~/Downloads/sotto-ca.crt',
  windows: 'certutil -addstore -f Root %USERPROFILE%\\Downloads\\sotto-ca.crt',
  debian: 'sudo cp sotto-ca.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates',
  fedora: 'sudo trust anchor sotto-ca.crt',
  sotto: 'sudo ./sotto cert install --ca sotto-ca.crt',
}

const english: EnrolWords = {
  title: 'Trust this gateway',
  unknown: (ca) =>
    html`Your device does not know <strong>${ca}</strong> yet. Once it does, its browser lets you speak to the
      gateway.`,
  secure: html`This page came over HTTPS. If your browser showed no warning, this device trusts the gateway
    already: <a href="/welcome">go on</a>.`,
  compare: 'Compare',
  compareHow: html`This must be what the screen of the gateway’s admin shows (<code>./sotto cert</code>). If
    it is not, stop: somebody else answers here.`,
  other: 'And its successor, or predecessor, for the time of the change:',
  install: (system) => `Install, on ${system}`,
  systems: { ...names, ios: 'iPhone and iPad' },
  steps: {
    ios: [
      html`${button(profile, 'Download the profile')} in Safari, and allow it.`,
      'Settings › Profile Downloaded (or General › VPN & Device Management): Install. This step alone is not enough.',
      'Settings › General › About › Certificate Trust Settings: switch the certificate on.',
    ],
    android: [
      html`${button(certificate, 'Download the certificate')}.`,
      'Settings › Security & privacy › More security settings › Encryption & credentials › Install a certificate › CA certificate: Install anyway, and choose the file.',
      'Chrome trusts it from then on. In Firefox: Settings › About Firefox, tap the logo five times, then Secret Settings › Use third party CA certificates.',
    ],
    macos: [
      html`${button(profile, 'Download the profile')}, and open it.`,
      'System Settings › General › Device Management: install it. It asks for your password.',
      `Or in a terminal: ${terminals.macos}`,
    ],
    windows: [
      html`${button(certificate, 'Download the certificate')}, and open it.`,
      'Install Certificate… › Local Machine › Place all certificates in the following store › Trusted Root Certification Authorities.',
      `Or as administrator: ${terminals.windows}`,
    ],
    linux: [
      html`${button(certificate, 'Download the certificate')}.`,
      `Debian, Ubuntu: ${terminals.debian}. Fedora: ${terminals.fedora}.`,
      'Chromium: Settings › Privacy and security › Security › Manage certificates › Custom › Import. Firefox: Settings › Certificates › View Certificates › Authorities › Import, for websites.',
      `With Sotto at hand, all in one: ${terminals.sotto}`,
    ],
  },
  check: 'Check',
  checkSecure: html`The next page sees whether it is trusted, and tries microphone and speaker.`,
  open: 'Open this page over HTTPS',
  openHow: 'It must open without a warning.',
  waiting:
    'Not trusted yet. This page looks every two seconds, and says when it is. Installed, and still not? Close the browser wholly, and open this page again.',
  trusted: html`<strong>Trusted.</strong> This device knows the gateway now.`,
  goOn: 'Go on',
  scope: 'What you trust it with',
  scopeHow: (all) =>
    `It can vouch for ${all} and nothing else: your device refuses it for any other name, even if it were stolen.`,
}

const german: EnrolWords = {
  title: 'Diesem Gateway vertrauen',
  unknown: (ca) =>
    html`Dein Gerät kennt <strong>${ca}</strong> noch nicht. Sobald es das tut, lässt dich sein Browser mit
      dem Gateway sprechen.`,
  secure: html`Diese Seite kam über HTTPS. Wenn dein Browser nicht gewarnt hat, vertraut dieses Gerät dem
    Gateway schon: <a href="/welcome">weiter</a>.`,
  compare: 'Vergleichen',
  compareHow: html`Das muss auf dem Bildschirm der Person stehen, die das Gateway verwaltet (<code
      >./sotto cert</code
    >). Wenn nicht, hör auf: Dann antwortet hier jemand anders.`,
  other: 'Und der Nachfolger oder Vorgänger, solange gewechselt wird:',
  install: (system) => `Installieren, auf ${system}`,
  systems: names,
  steps: {
    ios: [
      html`${button(profile, 'Profil laden')} in Safari, und erlaube es.`,
      'Einstellungen › Profil geladen (oder Allgemein › VPN und Geräteverwaltung): Installieren. Dieser Schritt allein genügt nicht.',
      'Einstellungen › Allgemein › Info › Zertifikatsvertrauenseinstellungen: Schalte das Zertifikat ein.',
    ],
    android: [
      html`${button(certificate, 'Zertifikat laden')}.`,
      'Einstellungen › Sicherheit & Datenschutz › Weitere Sicherheitseinstellungen › Verschlüsselung & Anmeldedaten › Zertifikat installieren › CA-Zertifikat: Trotzdem installieren, und wähle die Datei.',
      'Chrome vertraut ihm von da an. In Firefox: Einstellungen › Über Firefox, tippe fünfmal auf das Logo, dann Geheime Einstellungen › CA-Zertifikate Dritter verwenden.',
    ],
    macos: [
      html`${button(profile, 'Profil laden')} und öffnen.`,
      'Systemeinstellungen › Allgemein › Geräteverwaltung: Installiere es. Es fragt nach deinem Passwort.',
      `Oder im Terminal: ${terminals.macos}`,
    ],
    windows: [
      html`${button(certificate, 'Zertifikat laden')} und öffnen.`,
      'Zertifikat installieren… › Lokaler Computer › Alle Zertifikate in folgendem Speicher speichern › Vertrauenswürdige Stammzertifizierungsstellen.',
      `Oder als Administrator: ${terminals.windows}`,
    ],
    linux: [
      html`${button(certificate, 'Zertifikat laden')}.`,
      `Debian, Ubuntu: ${terminals.debian}. Fedora: ${terminals.fedora}.`,
      'Chromium: Einstellungen › Datenschutz und Sicherheit › Sicherheit › Zertifikate verwalten › Benutzerdefiniert › Importieren. Firefox: Einstellungen › Zertifikate › Zertifikate anzeigen › Zertifizierungsstellen › Importieren, für Websites.',
      `Mit Sotto zur Hand alles in einem: ${terminals.sotto}`,
    ],
  },
  check: 'Prüfen',
  checkSecure: html`Die nächste Seite sieht nach, ob ihm vertraut wird, und probiert Mikrofon und
  Lautsprecher.`,
  open: 'Diese Seite über HTTPS öffnen',
  openHow: 'Sie muss sich ohne Warnung öffnen.',
  waiting:
    'Noch kein Vertrauen. Diese Seite sieht alle zwei Sekunden nach und sagt es dir. Installiert und trotzdem nicht? Schließ den Browser ganz und öffne diese Seite noch einmal.',
  trusted: html`<strong>Geschafft.</strong> Dieses Gerät kennt das Gateway jetzt.`,
  goOn: 'Weiter',
  scope: 'Was du ihm anvertraust',
  scopeHow: (all) =>
    `Es kann für ${all} bürgen und für nichts sonst: Dein Gerät lehnt es für jeden anderen Namen ab, selbst wenn es gestohlen würde.`,
}

/** By what the browser asks for first. */
export function wordsFor(acceptLanguage: string | undefined): {
  readonly language: string
  readonly words: EnrolWords
} {
  return /^\s*de\b/i.test(acceptLanguage ?? '')
    ? { language: 'de', words: german }
    : { language: 'en', words: english }
}
