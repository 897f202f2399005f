/** Accounts of a running gateway: what guards them, who may make one, and the mail that goes with it. */
import type { Database } from '@sotto/provisioning/database.ts'
import { services, unlimited } from '@sotto/provisioning/registry/allowance.ts'
import { setAllowance } from '@sotto/provisioning/registry/party.ts'
import { addTenant, listTenants } from '@sotto/provisioning/registry/tenant.ts'
import type { Logger } from 'pino'
import type { AccountsConfig, Guards } from '#api/account/deps.ts'
import type { GatewayConfig } from '../config.ts'
import { createPasskeys } from './passkeys.ts'
import { createPasswords } from './passwords.ts'
import { createSlowing } from './slowing.ts'

export interface Accounts {
  readonly config: AccountsConfig
  readonly guards: Guards
  /** Where people sign in who are not on the overlay, `https://…`; undefined where they can't. */
  readonly outside: string | undefined
  /** Sends what waits. */
  look(): void
  close(): Promise<void>
}

const minuteMs = 60_000

export async function openAccounts(
  { file, mail }: Pick<GatewayConfig, 'file' | 'mail'>,
  database: Database,
  log: Pick<Logger, 'info' | 'error'>,
): Promise<Accounts> {
  const { signUp, domains, tenant } = file.accounts
  if (signUp) await ensureGuests(database, tenant)
  // Only where it is sent.
  const mailer = mail && (await import('./mailer.ts')).createMailer({ database, config: mail, log })
  mailer?.look()
  return {
    config: { signUp, domains, tenant, mail: mail !== undefined },
    guards: createGuards(),
    outside: file.tunnel?.accounts === true ? originOf(file.tunnel) : undefined,
    look: () => mailer?.look(),
    close: async () => mailer?.close(),
  }
}

export function createGuards(): Guards {
  return {
    places: createSlowing({ free: 10, firstMs: 1_000, mostMs: 15 * minuteMs, quietMs: 60 * minuteMs }),
    // Strangers can make them wait no longer than that, and a browser of theirs not at all.
    names: createSlowing({ free: 5, firstMs: 1_000, mostMs: minuteMs, quietMs: 60 * minuteMs }),
    passwords: createPasswords(),
    passkeys: createPasskeys(),
  }
}

/** `https://lend.example.org:8444` */
export function originOf({ names, listen }: NonNullable<GatewayConfig['file']['tunnel']>): string {
  const [name = ''] = names
  return new URL(`https://${name.includes(':') ? `[${name}]` : name}:${listen.port}`).origin
}

/** Who lends reads what others ask: those whom nobody knows may not, unless the admin says so. */
async function ensureGuests(database: Database, name: string): Promise<void> {
  if ((await listTenants(database)).some((one) => one.name === name)) return
  await addTenant(database, name)
  await setAllowance(database, `tenant:${name}`, { ...unlimited, services })
}
