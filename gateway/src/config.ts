/** What the gateway can be told, its defaults and its errors. The one file that reads the environment. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Problem } from '@sotto/provisioning/problem.ts'
import { statePaths } from '@sotto/provisioning/state.ts'
import { isDuration } from '@sotto/provisioning/commands/arguments.ts'
import ms from 'ms'
import { parse } from 'yaml'
import { z } from 'zod'
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
})

const duration = z.union([z.number().min(0), z.string()]).transform((value, context) => {
  // A number alone is milliseconds to `ms`, too.
  const read = typeof value === 'number' ? value : isDuration(value) ? ms(value) : undefined
  if (typeof read === 'number' && Number.isFinite(read) && read >= 0) return read
  context.addIssue({ code: 'custom', message: 'is no duration, such as 30s, 5m or 7d' })
  return z.NEVER
})
const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'is no name of small letters, digits and dashes')

const namesOf = (models: readonly { readonly name: string }[]): string[] => models.map((one) => one.name)

/** `config.yaml`. What it leaves out has its default. */
const file = z.strictObject({
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
  /** `tcp://` for one that speaks Wyoming. */
  whisper: listenerUrl.optional(),
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
  /** Origins of pages elsewhere that may use the gateway. */
  origins: z.array(z.url({ protocol: /^https?$/ }).transform((url) => new URL(url).origin)).default([]),
  /** How long audit rows are kept. */
  auditDays: z.int().min(1).default(90),
})

export type GatewayConfig = z.infer<typeof options> & { readonly file: z.infer<typeof file> }

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
  const config = file.safeParse(written)
  if (config.success) return { ...read.data, file: config.data }
  const [issue] = config.error.issues
  const keys = issue?.code === 'unrecognized_keys' ? issue.keys.join(', ') : ''
  throw new Problem(
    'config',
    `${place}: ${[...(issue?.path ?? []), keys].filter((part) => part !== '').join('.')}: ${keys ? 'is not known' : issue?.message}.`,
    'The README shows what it may hold.',
  )
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
