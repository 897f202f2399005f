/** How people who have no device come in: invitations, and what became of the mail. */
import { makeAccountLink } from '@sotto/provisioning/registry/account-link.ts'
import { checkMail } from '@sotto/provisioning/registry/account.ts'
import { listMails, queueMail, type Mail } from '@sotto/provisioning/registry/mail.ts'
import { findPerson } from '@sotto/provisioning/registry/person.ts'
import { z } from 'zod'
import { linkUrl } from '#accounts/letters.ts'
import type { Invitation, MailList, MailStatus } from '#protocol/account.ts'
import { noMail, language } from '../account/links.ts'
import { hostOf } from '../account/signing-in.ts'
import type { Route } from '../route.ts'
import { changing, conflict, type ChangeDeps } from './change.ts'
import { named } from './named.ts'
import { reading } from './reading.ts'

export interface InvitationsDeps extends ChangeDeps {
  /** Whether there is a way to send mail. */
  readonly mail: boolean
  /** Where people sign in who are not on the overlay; undefined where they can't. */
  readonly outside: string | undefined
}

const wish = z.strictObject({ mail: z.string().max(254).optional(), language }).optional()

export function invitationRoutes(deps: InvitationsDeps): Route[] {
  const { database, outside } = deps
  return [
    changing(deps, {
      method: 'POST',
      path: '/sotto/admin/people/:name/invitation',
      summary: 'Invite a person, by a link that is shown once or by mail',
      body: wish,
      async apply(sent, call) {
        const person = await findPerson(database, named(call))
        const origin = outside ?? `https://${hostOf(call)}`
        if (sent?.mail === undefined) {
          const { token, expiresAt } = await makeAccountLink(database, {
            kind: 'invitation',
            personId: person.id,
          })
          return { url: linkUrl(origin, token), expiresAt } satisfies Invitation
        }
        if (!deps.mail) throw noMail()
        const recipient = checkMail(sent.mail)
        const queued = await queueMail(database, {
          kind: 'invitation',
          recipient,
          personId: person.id,
          origin,
          language: sent.language,
        })
        if (!queued)
          throw conflict(
            'mail_exhausted',
            'This address was sent three invitations within the hour.',
            'Show the link instead, or wait.',
          )
        return { mailed: recipient } satisfies Invitation
      },
    }),
    reading('/sotto/admin/mails', 'What became of mails, the newest first', async () => {
      const mails = await listMails(database)
      return { configured: deps.mail, mails: mails.map(statusOf) } satisfies MailList
    }),
  ]
}

function statusOf({ kind, recipient, person, createdAt, sentAt, nextAt, tries, error }: Mail): MailStatus {
  return {
    kind,
    recipient,
    person,
    state: sentAt !== null ? 'sent' : nextAt !== null ? 'waiting' : 'failed',
    at: sentAt ?? createdAt,
    tries,
    nextAt,
    error,
  }
}
