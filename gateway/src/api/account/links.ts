/**
 * One-time links, sign-ups and new passwords. Who asks for mail is told the same, as late, whether the address is
 * known here or not; what there is to say goes to the address itself.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import {
  readAccountLink,
  useAccountLink,
  type AccountLink,
} from '@sotto/provisioning/registry/account-link.ts'
import { checkMail, findByMail } from '@sotto/provisioning/registry/account.ts'
import { mailLanguages, queueMail } from '@sotto/provisioning/registry/mail.ts'
import { listPasskeys } from '@sotto/provisioning/registry/passkey.ts'
import { hashToken } from '@sotto/provisioning/registry/secret.ts'
import { z } from 'zod'
import { registered } from '#accounts/passkeys.ts'
import type { AccountLinkStatus } from '#protocol/account.ts'
import { Failure } from '../../failure.ts'
import { readBody, refuse, requireOwnPage } from '../admin/change.ts'
import { name } from '../admin/named.ts'
import { noStore } from '../admin/reading.ts'
import { ownDialect } from '../envelope.ts'
import type { Call, Route } from '../route.ts'
import type { AccountDeps } from './deps.ts'
import { accountPath, maxBodyBytes } from './own.ts'
import { begin, hostOf, passwordText, placeOf, requireParty } from './signing-in.ts'

const token = z.string().min(1, 'is empty').max(200)
const link = z.strictObject({ token })
const linkOptions = z.strictObject({ token, name: name.optional() })
const linkUse = z.strictObject({
  token,
  name: name.optional(),
  password: passwordText.optional(),
  passkey: registered.optional(),
})
export const language = z.enum(mailLanguages).default('en')
const mailWish = z.strictObject({ mail: z.string().max(254), language })

/** More than it takes to look an address up and to put a mail into the queue. */
const answerAfterMs = 250

export function linkRoutes(deps: AccountDeps): Route[] {
  const { accounts, database, guards } = deps
  /** A route that anybody may call who is here, from our own page. */
  const open = <Body>(
    path: string,
    summary: string,
    body: z.ZodType<Body>,
    answer: (sent: Body, call: Call) => Promise<Response>,
  ): Route => ({
    group: 'member',
    dialect: ownDialect,
    method: 'POST',
    path: accountPath + path,
    summary,
    body,
    async handle(call) {
      requireOwnPage(call)
      return answer(await readBody(call, body, maxBodyBytes), call).catch(refuse)
    },
  })
  /** Looks at a link; wrong ones count. */
  const find = async (call: Call, text: string): Promise<AccountLink> => {
    const place = `link ${placeOf(call)}`
    guards.places.take(place)
    const found = await readAccountLink(database, text)
    if (found.kind === 'sign-up' && !accounts.signUp) throw noSignUp()
    guards.places.giveBack(place)
    return found
  }
  const purposeOf = (text: string): string => `link ${hashToken(text)}`
  return [
    open('/link', 'What a one-time link is for', link, async (sent, call) => {
      const { kind, person, mail, expiresAt } = await find(call, sent.token)
      return call.c.json({ kind, person, mail, expiresAt } satisfies AccountLinkStatus, 200, noStore)
    }),
    open(
      '/link/passkey-options',
      'What a passkey is made by, for a link',
      linkOptions,
      async (sent, call) => {
        const { personId, person } = await find(call, sent.token)
        const user = {
          id: personId ?? randomUUID(),
          name: person ?? sent.name ?? '',
          has: personId === null ? [] : await listPasskeys(database, personId),
        }
        const question = await guards.passkeys.askForNew(requireParty(call), purposeOf(sent.token), user)
        return call.c.json(question, 200, noStore)
      },
    ),
    open('/link/use', 'Use a link: choose by what one signs in, and be it', linkUse, async (sent, call) => {
      const { kind } = await find(call, sent.token)
      const { passkey, ...rest } = sent
      const made =
        passkey && (await guards.passkeys.takeNew(requireParty(call), purposeOf(sent.token), passkey))
      const { personId } = await useAccountLink(database, sent.token, {
        ...rest,
        ...(made && { passkey: made }),
        tenant: accounts.tenant,
      })
      await deps.follow()
      // Who reads mail at an address is not yet who has the account.
      if (kind !== 'mail') await begin(deps, call, personId)
      return call.c.body(null, 204, noStore)
    }),
    open('/sign-up', 'Ask for an account; what follows comes by mail', mailWish, async (sent, call) => {
      const mail = checkMail(sent.mail)
      if (!accounts.signUp) throw noSignUp()
      const domain = mail.slice(mail.lastIndexOf('@') + 1)
      if (accounts.domains && !accounts.domains.includes(domain))
        throw new Failure('forbidden', 'Addresses of this domain may not sign up here.', undefined, {
          detail: 'sign_up_domain',
          remedy: `Use one of ${accounts.domains.join(', ')}, or ask the admin for an invitation.`,
        })
      guards.places.take(`mail ${placeOf(call)}`)
      return evenly(call, async () => {
        const personId = await findByMail(database, mail)
        const kind = personId === undefined ? 'sign-up' : 'known'
        await queueMail(database, { ...addressed(call, mail, sent.language), kind, personId })
      })
    }),
    open('/reset', 'Ask for a new password, which comes by mail', mailWish, async (sent, call) => {
      const mail = checkMail(sent.mail)
      if (!accounts.mail) throw noMail()
      guards.places.take(`mail ${placeOf(call)}`)
      return evenly(call, async () => {
        const personId = await findByMail(database, mail)
        if (personId !== undefined)
          await queueMail(database, { ...addressed(call, mail, sent.language), kind: 'reset', personId })
      })
    }),
  ]
}

/** To whom, where its link leads, and in which language. */
function addressed(call: Call, recipient: string, spoken: z.infer<typeof language>) {
  return { recipient, origin: `https://${hostOf(call)}`, language: spoken }
}

/** Answers the same after the same time, whatever there was to do. */
async function evenly({ c }: Call, task: () => Promise<void>): Promise<Response> {
  await Promise.all([task(), pause(answerAfterMs)])
  return c.body(null, 202, noStore)
}

function noSignUp(): Failure {
  return new Failure('forbidden', 'Nobody makes an account here by themselves.', undefined, {
    detail: 'sign_up_off',
    remedy: 'Ask the admin for an invitation.',
  })
}

export function noMail(): Failure {
  return new Failure('unavailable', 'This gateway sends no mail.', undefined, {
    detail: 'no_mail',
    remedy: 'Ask the admin for an invitation: it lets you set a new password.',
  })
}
