/** `sotto person invite`: lets a person in who has no device, by a link that is shown once or by mail. */
import { acted, common, withNetwork, type CommonOptions } from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import type { Network } from '@sotto/provisioning/registry/network.ts'
import { Command } from 'commander'
import type { Running } from '#announcement.ts'

interface InviteOptions extends CommonOptions {
  readonly mail?: string
  readonly language: string
  readonly tenant?: string
}

export function inviteCommand(output: Output): Command {
  return common(new Command('invite'))
    .description(
      'invite a person to sign in: a one-time link, shown or mailed; who has an account gets a new password',
    )
    .argument('<name>', 'made where there is none of that name')
    .option('--mail <address>', 'send the link there')
    .option('--language <code>', 'of the mail: en or de', 'en')
    .option('--tenant <name>', 'to which a new person belongs (default: the first)')
    .action(async (name: string, options: InviteOptions) => {
      const { readRunning } = await import('#announcement.ts')
      await withNetwork(options, async (opened) => {
        const { state, database, network } = opened
        const running = await readRunning(state)
        const mail = options.mail === undefined ? undefined : await addressOf(options.mail, running)
        const person = await personNamed(opened, name, options.tenant)
        const origin = await originOf(running, network)
        if (mail !== undefined) {
          await sendMail(opened, { personId: person.id, recipient: mail, origin, language: options.language })
          await acted(opened)
          output.result(
            { person, mailed: mail },
            `A link for ${person.name} goes to ${mail}${running ? '' : ' as soon as the gateway runs'}. What becomes of it: /admin/people`,
          )
          return
        }
        const { makeAccountLink } = await import('@sotto/provisioning/registry/account-link.ts')
        const { linkUrl } = await import('#accounts/letters.ts')
        const { token, expiresAt } = await makeAccountLink(database, {
          kind: 'invitation',
          personId: person.id,
        })
        const url = linkUrl(origin, token)
        output.result(
          { person, url, expiresAt },
          `For ${person.name}, good once, until ${new Date(expiresAt).toLocaleString()}:\n\n${url}`,
        )
      })
    })
}

type Opened = Parameters<Parameters<typeof withNetwork>[1]>[0]

async function personNamed({ database }: Opened, name: string, tenant: string | undefined) {
  const { addPerson, findPerson } = await import('@sotto/provisioning/registry/person.ts')
  const { Problem } = await import('@sotto/provisioning/problem.ts')
  return findPerson(database, name).catch((error: unknown) => {
    if (error instanceof Problem && error.code === 'person_missing') return addPerson(database, name, tenant)
    throw error
  })
}

/** Throws a `Problem`, also where the gateway that runs sends no mail. */
async function addressOf(text: string, running: Running | undefined): Promise<string> {
  const { checkMail } = await import('@sotto/provisioning/registry/account.ts')
  const { Problem } = await import('@sotto/provisioning/problem.ts')
  const address = checkMail(text)
  if (running && !running.mail)
    throw new Problem(
      'no_mail',
      'The gateway does not know how to send mail.',
      'Say it in config.yaml, with mail: { url, from }, and start it anew; or leave --mail out.',
    )
  return address
}

async function sendMail(
  { database }: Opened,
  {
    personId,
    recipient,
    origin,
    language,
  }: Readonly<Record<'personId' | 'recipient' | 'origin' | 'language', string>>,
): Promise<void> {
  const { mailLanguages, queueMail } = await import('@sotto/provisioning/registry/mail.ts')
  const { Problem } = await import('@sotto/provisioning/problem.ts')
  const spoken = mailLanguages.find((one) => one === language)
  if (!spoken) throw new Problem('mail_language', `“${language}” is none of ${mailLanguages.join(', ')}.`)
  const queued = await queueMail(database, {
    kind: 'invitation',
    recipient,
    personId,
    origin,
    language: spoken,
  })
  if (!queued)
    throw new Problem(
      'mail_exhausted',
      'This address was sent three invitations within the hour.',
      'Leave --mail out for a link to hand over, or wait.',
    )
}

/** Where people sign in: outside where they may, else on the overlay. */
async function originOf(running: Running | undefined, network: Network): Promise<string> {
  const { hubAddresses } = await import('@sotto/provisioning/overlay/addresses.ts')
  const port = network.gatewayPort === 443 ? '' : `:${network.gatewayPort ?? 8443}`
  return running?.accounts ?? running?.origins[0] ?? `https://${hubAddresses(network).address4}${port}`
}
