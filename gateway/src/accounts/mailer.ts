/**
 * Sends the mail that waits in the registry, one after the other, and tries again what could not be sent. The queue
 * is on disk; a restart loses none. A link is made for each try: of one that got through all the same, both are good.
 */
import { isIP } from 'node:net'
import type { Database } from '@sotto/provisioning/database.ts'
import { makeAccountLink } from '@sotto/provisioning/registry/account-link.ts'
import {
  dueMails,
  longestWaitMs,
  nextMailAt,
  noteMail,
  type Mail,
} from '@sotto/provisioning/registry/mail.ts'
import { createTransport } from 'nodemailer'
import type { Logger } from 'pino'
import { linkOfMail, linkUrl, writeLetter } from './letters.ts'

export interface MailConfig {
  /** `smtp://user@host:587`, which wants STARTTLS, or `smtps://…` */
  readonly url: string
  readonly from: string
  readonly password: string | undefined
  /** PEM, where the server’s certificate is of no public authority. */
  readonly ca: string | undefined
}

export interface Mailer {
  /** Looks at once whether something waits. */
  look(): void
  close(): Promise<void>
}

export interface MailerOptions {
  readonly database: Database
  readonly config: MailConfig
  readonly log: Pick<Logger, 'info' | 'error'>
  /** Before the second try; doubles from then on. */
  readonly retryMs?: number
}

const firstRetryMs = 30_000
/** A day, nearly: a server that is away for longer won’t be back for this mail. */
const maxTries = 30
const timeoutMs = 20_000
/** A timer’s longest. */
const farMs = 3_600_000

export function createMailer({ database, config, log, retryMs = firstRetryMs }: MailerOptions): Mailer {
  const transport = createTransport(optionsOf(config))
  const stop = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let again = false

  const send = async (mail: Mail): Promise<void> => {
    const { token } = await makeAccountLink(database, {
      kind: linkOfMail[mail.kind],
      personId: mail.personId ?? undefined,
      mail: mail.recipient,
    })
    const { subject, text } = writeLetter(mail, linkUrl(mail.origin, token))
    try {
      await transport.sendMail({
        from: config.from,
        to: mail.recipient,
        subject,
        text,
        headers: { 'Auto-Submitted': 'auto-generated' },
        disableFileAccess: true,
        disableUrlAccess: true,
      })
      await noteMail(database, mail.id, { sentAt: new Date() })
      log.info({ mail: mail.id, kind: mail.kind }, 'a mail was sent')
    } catch (error) {
      const waitMs = Math.min(longestWaitMs, retryMs * 2 ** mail.tries)
      const next = isHopeless(error) || mail.tries + 1 >= maxTries ? null : new Date(Date.now() + waitMs)
      await noteMail(database, mail.id, { error: reasonOf(error), next })
      log.error({ err: error, mail: mail.id, kind: mail.kind, next }, 'a mail could not be sent')
    }
  }
  const run = async (): Promise<void> => {
    do {
      again = false
      for (const mail of await dueMails(database)) {
        if (stop.signal.aborted) return
        await send(mail)
        again = true
      }
    } while (again)
    const next = await nextMailAt(database)
    if (next && !stop.signal.aborted) {
      clearTimeout(timer)
      timer = setTimeout(look, Math.min(farMs, Math.max(0, next.getTime() - Date.now()))).unref()
    }
  }
  const look = (): void => {
    again = true
    if (stop.signal.aborted) return
    running ??= run()
      .catch((error: unknown) => {
        log.error({ err: error }, 'the mail that waits could not be read')
        timer = setTimeout(look, firstRetryMs).unref()
      })
      .finally(() => (running = undefined))
  }
  return {
    look,
    async close() {
      stop.abort()
      clearTimeout(timer)
      transport.close()
      await running
    },
  }
}

function optionsOf({ url, password, ca }: MailConfig) {
  const { protocol, hostname, port, username } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  const secure = protocol === 'smtps:'
  return {
    host,
    port: port === '' ? (secure ? 465 : 587) : Number(port),
    secure,
    // In clear to this machine alone.
    requireTLS: !secure && !isLoopback(host),
    ...(username !== '' && { auth: { user: decodeURIComponent(username), pass: password ?? '' } }),
    ...(ca !== undefined && { tls: { ca } }),
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/** The server says that it will never take it; that it does not let us in may be mended. */
function isHopeless(error: unknown): boolean {
  const code = responseOf(error)
  return code !== undefined && code >= 550 && code <= 554
}

/** For the admin: what the server said, with none of what we sent. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
}

function responseOf(error: unknown): number | undefined {
  return error instanceof Error && 'responseCode' in error && typeof error.responseCode === 'number'
    ? error.responseCode
    : undefined
}
