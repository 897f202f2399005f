/** What the gateway can be told, its defaults and its errors. The one file that reads the environment. */
import { Problem } from '@sotto/provisioning/problem.ts'
import { z } from 'zod'

/** High, so that no web server has it and no root is needed for it. */
export const defaultPort = 8443
const defaultOllama = 'http://127.0.0.1:11434'

const httpUrl = z
  .url({ protocol: /^https?$/, error: 'is no http:// or https:// address' })
  .transform((url) => url.replace(/\/+$/, ''))

const schema = z.object({
  state: z.string().min(1).optional(),
  port: z.coerce
    .number('is no number')
    .int('is no whole number')
    .min(0)
    .max(65_535, 'is above 65535')
    .default(defaultPort),
  loopback: z.boolean().default(false),
  ollama: httpUrl.default(defaultOllama),
  whisper: httpUrl.optional(),
  endpoint: z.string().min(1).optional(),
  range: z.string().min(1).optional(),
})

export type GatewayConfig = z.infer<typeof schema>

/** Checks the options of `sotto up`. Throws a `Problem` that names the option. */
export function readConfig(options: Record<string, unknown>): GatewayConfig {
  const given: Record<string, unknown> = {
    ...options,
    ollama: options.ollama ?? ollamaHost(process.env.OLLAMA_HOST),
  }
  const read = schema.safeParse(given)
  if (read.success) return read.data
  const [issue] = read.error.issues
  const name = String(issue?.path[0])
  const value = given[name]
  throw new Problem(
    'config',
    `--${name}: “${typeof value === 'string' ? value : ''}” ${issue?.message}.`,
    './sotto up --help shows what it takes.',
  )
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
