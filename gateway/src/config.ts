/** What the gateway can be told, its defaults and its errors. The one file that reads the environment. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { databaseSetting } from '@sotto/provisioning/postgres/setting.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { statePaths } from '@sotto/provisioning/state.ts'
import { isDuration } from '@sotto/provisioning/commands/arguments.ts'
import ms from 'ms'
import { parse } from 'yaml'
import { z } from 'zod'
import type { MailConfig } from '#accounts/mailer.ts'
import type { ValkeyConfig } from '#valkey/valkey.ts'
import { voices, whispers } from '#engines/models.ts'

/** High, so that no web server has it and no root is needed for it. */
export const defaultPort = 8443
const defaultOllama = 'http://127.0.0.1:11434'
/** What an Ollama of today runs at once where its memory allows it. */
export const defaultParallel = 4

const httpUrl = z
  .url({ protocol: /^https?$/, error: 'is no http:// or https:// address' })
  .transform((url) => url.replace(/\/+$/, ''))

const listenerUrl = z
  .url({ protocol: /^(?:https?|tcp)$/, error: 'is no http://, https:// or tcp:// address' })
  .transform((url) => url.replace(/\/+$/, ''))

const options = z.object({
  state: z.string().min(1).optional(),
  port: z.coerce
    .number('is no number')
    .int('is no whole number')
    .min(0)
    .max(65_535, 'is above 65535')
    .default(defaultPort),
  loopback: z.boolean().default(false),
  ollama: httpUrl.default(defaultOllama),
  whisper: listenerUrl.optional(),
  endpoint: z.string().min(1).optional(),
  range: z.string().min(1).optional(),
  config: z.string().min(1).optional(),
  admin: z.string().min(1).optional(),
  firstDevice: z.boolean().default(true),
})

const duration = z.union([z.number().min(0), z.string()]).transform((value, context) => {
  // A number alone is milliseconds to `ms`, too.
  const read = typeof value === 'number' ? value : isDuration(value) ? ms(value) : undefined
  if (typeof read === 'number' && Number.isFinite(read) && read >= 0) return read
  context.addIssue({ code: 'custom', message: 'is no duration, such as 30s, 5m or 7d' })
  return z.NEVER
})
/** `0.0.0.0:8444`, `[::]:8444` */
const listenAddress = z.string().transform((value, context) => {
  const [, six, four, port] = /^(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d{1,5})$/i.exec(value) ?? []
  const host = six ?? four
  if (host !== undefined && Number(port) <= 65_535) return { host, port: Number(port) }
  context.addIssue({ code: 'custom', message: 'is no address with a port, such as 0.0.0.0:8444' })
  return z.NEVER
})
const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'is no name of small letters, digits and dashes')

const namesOf = (models: readonly { readonly name: string }[]): string[] => models.map((one) => one.name)

const withoutPassword = (url: string): boolean => (URL.parse(url)?.password ?? '') === ''
const passwordInUrl = 'holds a password: put it into passwordFile'
const valkeyUrl = z
  .url({ protocol: /^rediss?$/, error: 'is no redis:// or rediss:// address' })
  .refine(withoutPassword, passwordInUrl)
  .refine((url) => /^(?:\/\d*)?$/.test(URL.parse(url)?.pathname ?? ''), 'has a database that is no number')

/** `config.yaml`. What it leaves out has its default. */
const file = z.strictObject({
  /** PostgreSQL; left out, SQLite. Who opens a store reads it, from the state directory alone. */
  database: databaseSetting.optional(),
  /** Where models are; left out, the one Ollama of `--ollama`. */
  backends: z
    .array(
      z.strictObject({
        name,
        url: httpUrl,
        kind: z.enum(['ollama', 'openai']).default('ollama'),
        /** As many as it answers at once: `OLLAMA_NUM_PARALLEL`, or more where it may swap models. */
        parallel: z.int().min(1).max(1_024).default(defaultParallel),
      }),
    )
    .min(1)
    .optional(),
  /** Names that clients may say, with the models that they mean. */
  aliases: z.record(z.string(), z.string()).default({}),
  /** What requests may ask of the engines. */
  limits: z
    .strictObject({
      keepAlive: duration.default(3_600_000),
      contextTokens: z.int().min(512).default(131_072),
    })
    .prefault({}),
  /** `tcp://` for one that speaks Wyoming. An address alone is of one that hears one recording after another. */
  whisper: z
    .union([
      z.strictObject({
        url: listenerUrl,
        /** As many as it hears at once; whisper.cpp has one lock around all it does. */
        parallel: z.int().min(1).max(1_024).default(1),
      }),
      listenerUrl.transform((url) => ({ url, parallel: 1 })),
    ])
    .optional(),
  /** The Whisper of our own, which is fetched once; without it only one whose files are there is used. */
  embedded: z
    .union([z.boolean(), z.strictObject({ whisper: z.enum(namesOf(whispers)) })], {
      error: `is true, false or { whisper: NAME }, one of ${namesOf(whispers).join(', ')}`,
    })
    .transform((given) =>
      given === true ? namesOf(whispers)[0] : given === false ? undefined : given.whisper,
    )
    .optional(),
  speech: z
    .strictObject({
      engine: z.enum(['openai', 'piper', 'wyoming', 'sherpa', 'espeak-ng']),
      url: listenerUrl.optional(),
      model: z.string().optional(),
      voice: z.string().optional(),
    })
    .refine(
      ({ engine, url }) => engine === 'espeak-ng' || engine === 'sherpa' || url !== undefined,
      'needs its url',
    )
    .refine(
      ({ engine, url }) => url === undefined || (engine === 'wyoming') === url.startsWith('tcp:'),
      'needs a tcp:// url for wyoming, and http:// or https:// for the others',
    )
    .refine(
      ({ engine, model }) => engine !== 'sherpa' || model === undefined || namesOf(voices).includes(model),
      `has one of these models: ${namesOf(voices).join(', ')}`,
    )
    .optional(),
  images: z
    .strictObject({ engine: z.enum(['automatic1111', 'openai']), url: httpUrl, model: z.string().optional() })
    .optional(),
  /** Further services, at `/services/NAME/…`. */
  services: z
    .array(
      z.strictObject({
        name,
        upstream: httpUrl,
        paths: z.array(z.string().startsWith('/')).min(1),
        methods: z.array(z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])).default(['POST']),
        timeout: duration.default(60_000),
      }),
    )
    .default([]),
  /** A listener for lenders that are not on the overlay: tunnels and nothing else. */
  tunnel: z
    .strictObject({
      listen: listenAddress,
      /** Under which lenders reach it: its certificate is for them. */
      names: z.array(z.string().min(1)).min(1),
      /** Whether people sign in there, too: the account’s page and what it asks for, and nothing else. */
      accounts: z.boolean().default(false),
    })
    .optional(),
  /** Who may make an account by themselves; by invitation they always can. */
  accounts: z
    .strictObject({
      signUp: z.boolean().default(false),
      /** Of mail addresses; left out, all. */
      domains: z
        .array(
          z
            .string()
            .toLowerCase()
            .regex(/^[a-z0-9.-]+$/, 'is no domain'),
        )
        .min(1)
        .optional(),
      /** To which those belong who sign up; made where there is none, and then without lending. */
      tenant: z.string().min(1).default('guests'),
    })
    .prefault({}),
  /** By which mail is sent: invitations, verifications, new passwords. */
  mail: z
    .strictObject({
      url: z
        .url({ protocol: /^smtps?$/, error: 'is no smtp:// or smtps:// address' })
        .refine(withoutPassword, passwordInUrl),
      from: z.string().min(3),
      /** One that nobody else may read; left out, SOTTO_MAIL_PASSWORD. */
      passwordFile: z.string().min(1).optional(),
      /** PEM, where the server’s certificate is of no public authority. */
      ca: z.string().min(1).optional(),
    })
    .optional(),
  /** Valkey or Redis, where several gateways count limits and budgets together; left out, each counts its own. */
  valkey: z
    .preprocess(
      (given) => (typeof given === 'string' ? { url: given } : given),
      z.strictObject({
        url: valkeyUrl,
        /** One that nobody else may read; left out, SOTTO_VALKEY_PASSWORD. */
        passwordFile: z.string().min(1).optional(),
        /** PEM, where the server’s certificate is of no public authority. */
        ca: z.string().min(1).optional(),
        /** Where the other gateways reach this one; left out, those of this machine do. */
        listen: listenAddress
          .refine(
            ({ host }) => !['0.0.0.0', '::'].includes(host),
            'is every address: say the one at which the others reach this gateway',
          )
          .default({ host: '127.0.0.1', port: 0 }),
      }),
    )
    .optional(),
  /** The relay for friends' gateways and other meshes. */
  relay: z
    .strictObject({
      /** Whether it can be reached by the listener of `tunnel`, too. */
      outside: z.boolean().default(false),
    })
    .prefault({}),
  /** Origins of pages elsewhere that may use the gateway. */
  origins: z.array(z.url({ protocol: /^https?$/ }).transform((url) => new URL(url).origin)).default([]),
  /** How long audit rows are kept. */
  auditDays: z.int().min(1).default(90),
})
const checked = file.refine(({ relay, tunnel }) => !relay.outside || tunnel !== undefined, {
  path: ['relay', 'outside'],
  error: 'needs a listener: tunnel',
})

export type GatewayConfig = z.infer<typeof options> & {
  readonly file: z.infer<typeof file>
  readonly mail?: MailConfig
  readonly valkey?: ValkeyConfig & { readonly listen: { readonly host: string; readonly port: number } }
}

/**
 * Checks the options of `sotto up`, and the file that `--config` names or that lies in the state directory.
 * Throws a `Problem` that names the option or the field.
 */
export function readConfig(given: Record<string, unknown>): GatewayConfig {
  const withEnvironment: Record<string, unknown> = {
    ...given,
    ollama: given.ollama ?? ollamaHost(process.env.OLLAMA_HOST),
  }
  const read = options.safeParse(withEnvironment)
  if (!read.success) {
    const [issue] = read.error.issues
    const option = String(issue?.path[0])
    const value = withEnvironment[option]
    throw new Problem(
      'config',
      `--${option}: “${typeof value === 'string' ? value : ''}” ${issue?.message}.`,
      './sotto up --help shows what it takes.',
    )
  }
  const place = read.data.config ?? join(statePaths(read.data.state).directory, 'config.yaml')
  const written = read.data.config !== undefined || existsSync(place) ? readFile(place) : {}
  const config = checked.safeParse(written)
  if (config.success) {
    const ofState = join(statePaths(read.data.state).directory, 'config.yaml')
    if (config.data.database && resolve(place) !== ofState)
      throw new Problem(
        'config',
        `${place}: database: every command needs it, and looks for it in ${ofState} alone.`,
        'Put that line there; all else can stay.',
      )
    const mail = config.data.mail && {
      ...secretsOf('mail', place, config.data.mail, process.env.SOTTO_MAIL_PASSWORD),
      url: config.data.mail.url,
      from: config.data.mail.from,
    }
    const valkey = config.data.valkey && {
      ...secretsOf('valkey', place, config.data.valkey, process.env.SOTTO_VALKEY_PASSWORD),
      url: config.data.valkey.url,
      listen: config.data.valkey.listen,
    }
    if (config.data.accounts.signUp && !mail)
      throw new Problem(
        'config',
        `${place}: accounts.signUp: without mail nobody’s address is verified.`,
        'Say how mail is sent, with mail: { url, from }.',
      )
    return { ...read.data, file: config.data, ...(mail && { mail }), ...(valkey && { valkey }) }
  }
  const [issue] = config.error.issues
  const keys = issue?.code === 'unrecognized_keys' ? issue.keys.join(', ') : ''
  throw new Problem(
    'config',
    `${place}: ${[...(issue?.path ?? []), keys].filter((part) => part !== '').join('.')}: ${keys ? 'is not known' : issue?.message}.`,
    'The README shows what it may hold.',
  )
}

/** What a part of the file only names. */
function secretsOf(
  part: string,
  place: string,
  { passwordFile, ca }: { readonly passwordFile?: string | undefined; readonly ca?: string | undefined },
  fromEnvironment: string | undefined,
): { readonly password: string | undefined; readonly ca: string | undefined } {
  const read = (field: string, named: string): string => {
    try {
      return readFileSync(resolve(dirname(place), named), 'utf8')
    } catch (error) {
      throw new Problem('config', `${place}: ${part}.${field}: ${named} can’t be read.`, '', error)
    }
  }
  const password = passwordFile === undefined ? fromEnvironment : read('passwordFile', passwordFile).trim()
  if (passwordFile !== undefined && (statSync(resolve(dirname(place), passwordFile)).mode & 0o077) !== 0)
    throw new Problem(
      'config',
      `${place}: ${part}.passwordFile: others may read ${passwordFile}.`,
      `chmod 600 ${passwordFile}`,
    )
  return { password, ca: ca === undefined ? undefined : read('ca', ca) }
}

function readFile(place: string): unknown {
  try {
    return parse(readFileSync(place, 'utf8')) ?? {}
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''
    throw new Problem(
      'config',
      `${place} can’t be read: ${why}`,
      'It is YAML; the README shows an example.',
      error,
    )
  }
}

/**
 * `OLLAMA_HOST` as Ollama itself reads it: scheme and port may be missing, and an address that means “listen
 * everywhere” is dialled on loopback. Source: `envconfig.Host` in ollama/ollama.
 */
export function ollamaHost(value: string | undefined): string | undefined {
  const text = value?.trim().replace(/^["']|["']$/g, '')
  if (!text) return undefined
  const [, scheme = 'http', rest = ''] = /^(?:(https?):\/\/)?(.*)$/.exec(text) ?? []
  const [, host = '', port] = /^(\[[^\]]*\]|[^:/]*)(?::(\d+))?/.exec(rest) ?? []
  const fallback = text.startsWith('http') ? (scheme === 'https' ? '443' : '80') : '11434'
  const everywhere = host === '' || host === '0.0.0.0' || host === '[::]'
  return `${scheme}://${everywhere ? '127.0.0.1' : host}:${port ?? fallback}`
}
