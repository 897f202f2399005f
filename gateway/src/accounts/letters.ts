/** What the gateway writes to people: a sentence why, the link, how long it is good, and what to do where it is not for them. */
import { accountLinkLifeMs, type AccountLinkKind } from '@sotto/provisioning/registry/account-link.ts'
import type { Mail, MailKind, MailLanguage } from '@sotto/provisioning/registry/mail.ts'

export interface Letter {
  readonly subject: string
  readonly text: string
}

interface Words {
  readonly subject: string
  readonly why: string
  /** What becomes of it where its reader did not ask for it. */
  readonly else: string
}

/** The link that goes with each. */
export const linkOfMail = {
  invitation: 'invitation',
  'sign-up': 'sign-up',
  known: 'reset',
  reset: 'reset',
  mail: 'mail',
} as const satisfies Record<MailKind, AccountLinkKind>

const words = {
  en: {
    invitation: {
      subject: 'Your invitation to Sotto',
      why: 'you are invited to a private AI gateway. Choose how you sign in:',
      else: 'If you know nothing of this, leave it: without the link nothing happens.',
    },
    'sign-up': {
      subject: 'Finish your account at Sotto',
      why: 'this address was given to make an account. Finish it here:',
      else: 'If that was not you, leave it: without the link there is no account.',
    },
    known: {
      subject: 'You have an account at Sotto',
      why: 'somebody wanted to make an account with this address, which has one. If you forgot the password, set a new one here:',
      else: 'If that was not you, leave it: nothing has changed.',
    },
    reset: {
      subject: 'A new password for Sotto',
      why: 'a new password was asked for. Set it here:',
      else: 'If that was not you, leave it: the old one goes on.',
    },
    mail: {
      subject: 'Your new address at Sotto',
      why: 'this address is to be that of your account. Confirm it here:',
      else: 'If that was not you, leave it: nothing changes.',
    },
  },
  de: {
    invitation: {
      subject: 'Deine Einladung zu Sotto',
      why: 'du bist zu einem privaten KI-Gateway eingeladen. Wähle, wie du dich anmeldest:',
      else: 'Wenn du davon nichts weißt, lass es liegen: Ohne den Link geschieht nichts.',
    },
    'sign-up': {
      subject: 'Schließe dein Konto bei Sotto ab',
      why: 'mit dieser Adresse soll ein Konto angelegt werden. Hier schließt du es ab:',
      else: 'Wenn du das nicht warst, lass es liegen: Ohne den Link gibt es kein Konto.',
    },
    known: {
      subject: 'Du hast ein Konto bei Sotto',
      why: 'jemand wollte mit dieser Adresse ein Konto anlegen; sie hat schon eines. Wenn du das Passwort vergessen hast, setze hier ein neues:',
      else: 'Wenn du das nicht warst, lass es liegen: Es hat sich nichts geändert.',
    },
    reset: {
      subject: 'Ein neues Passwort für Sotto',
      why: 'es wurde um ein neues Passwort gebeten. Setze es hier:',
      else: 'Wenn du das nicht warst, lass es liegen: Das alte gilt weiter.',
    },
    mail: {
      subject: 'Deine neue Adresse bei Sotto',
      why: 'diese Adresse soll die deines Kontos werden. Bestätige sie hier:',
      else: 'Wenn du das nicht warst, lass es liegen: Es ändert sich nichts.',
    },
  },
} as const satisfies Record<MailLanguage, Record<MailKind, Words>>

const greetings = { en: 'Hello', de: 'Hallo' } as const
const hourMs = 3_600_000

export function writeLetter({ kind, language, person }: Mail, url: string): Letter {
  const { subject, why, else: otherwise } = words[language][kind]
  const greeting = `${greetings[language]}${person === null ? '' : ` ${person}`},`
  const hours = accountLinkLifeMs[linkOfMail[kind]] / hourMs
  return { subject, text: [greeting, why, url, goodFor(language, hours), otherwise, ''].join('\n\n') }
}

function goodFor(language: MailLanguage, hours: number): string {
  const lasting = new Intl.NumberFormat(language, {
    style: 'unit',
    unit: 'hour',
    unitDisplay: 'long',
  }).format(hours)
  return language === 'de'
    ? `Der Link gilt einmal, ${lasting} lang. Er öffnet sich nur in dem Netz, in dem das Gateway zu erreichen ist.`
    : `The link is good once, for ${lasting}. It opens only where the gateway can be reached.`
}

/** @param token of a one-time link: behind the `#`, since what stands there is sent to nobody and in no log */
export function linkUrl(origin: string, token: string): string {
  return `${origin}/account#link=${token}`
}
