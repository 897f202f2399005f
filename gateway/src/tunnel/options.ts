/** What `sotto lend` was told, read and checked. */
import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Problem } from '@sotto/provisioning/problem.ts'
import { ollamaHost } from '../config.ts'
import type { Lending, LentService } from './allowed.ts'
import { lenderName } from './offer.ts'

export interface GivenOptions {
  readonly to?: string
  readonly key?: string
  readonly keyFile?: string
  readonly ca?: string
  readonly ollama?: string
  readonly whisper?: string
  readonly service: readonly string[]
  readonly parallel: string
}

export interface LendOptions {
  readonly to: string
  readonly key: string
  /** PEM. */
  readonly ca: string | undefined
  readonly lending: Lending
  readonly parallel: number
  /** The same options for the next time, but for the key and the name. */
  readonly again: readonly string[]
}

const defaultOllama = 'http://127.0.0.1:11434'

/** Throws a `Problem`. */
export async function readLendOptions(
  given: GivenOptions,
  environment: NodeJS.ProcessEnv,
): Promise<LendOptions> {
  const to = readTarget(given.to)
  const key = await readKey(given, environment.SOTTO_KEY)
  const ollama = given.ollama ?? ollamaHost(environment.OLLAMA_HOST)
  const services = given.service.map(readService)
  const alone = ollama === undefined && given.whisper === undefined && services.length === 0
  const lending: Lending = {
    // What most people have, where they say nothing.
    ...((ollama !== undefined || alone) && { ollama: readUrl('ollama', ollama ?? defaultOllama) }),
    ...(given.whisper !== undefined && { whisper: readUrl('whisper', given.whisper) }),
    services,
  }
  const parallel = Number(given.parallel)
  if (!Number.isInteger(parallel) || parallel < 1 || parallel > 1_024)
    throw new Problem('lend_parallel', `--parallel: “${given.parallel}” is no number from 1 to 1024.`)
  const ca = given.ca === undefined ? undefined : resolve(given.ca)
  return {
    to,
    key,
    ca: ca === undefined ? undefined : await readPem(ca),
    lending,
    parallel,
    again: [
      '--to',
      to,
      ...(ca === undefined ? [] : ['--ca', ca]),
      ...(lending.ollama === undefined ? [] : ['--ollama', lending.ollama]),
      ...(lending.whisper === undefined ? [] : ['--whisper', lending.whisper]),
      ...services.flatMap(({ name, url }) => ['--service', `${name}=${url}`]),
      '--parallel',
      String(parallel),
    ],
  }
}

/** Without TLS a key goes to this machine alone. */
function readTarget(to: string | undefined): string {
  const url = to === undefined ? null : URL.parse(to)
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname))
  if (url && isSafe) return url.origin
  throw new Problem(
    'lend_to',
    to === undefined ? '--to is missing.' : `--to: “${to}” is no https:// address.`,
    'For example: --to https://10.77.0.1:8443',
  )
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '127.0.0.1' || host === '[::1]'
}

async function readKey({ key, keyFile }: GivenOptions, known: string | undefined): Promise<string> {
  const found = key ?? (keyFile === undefined ? known : await readKeyFile(keyFile))
  if (found) return found.trim()
  throw new Problem(
    'lend_key',
    'There is no key.',
    'Set SOTTO_KEY, or give --key-file FILE. The gateway’s admin makes one: ./sotto key add NAME --services lend',
  )
}

async function readKeyFile(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new Problem('lend_key', `${file} can’t be read.`, 'Give a file that is there.', error)
  })
  // Windows has no such bits.
  if (process.platform !== 'win32' && ((await stat(file)).mode & 0o077) !== 0)
    throw new Problem('lend_key', `Others may read ${file}.`, `chmod 600 ${file}`)
  return text
}

async function readPem(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '')
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text
  throw new Problem('lend_ca', `--ca: there is no certificate in ${file}.`, 'It is PEM, such as root.crt.')
}

function readUrl(option: string, value: string): string {
  const url = URL.parse(value)
  if (url && /^https?:$/.test(url.protocol)) return value.replace(/\/(?:v1\/?)?$/, '')
  throw new Problem('lend_url', `--${option}: “${value}” is no http:// or https:// address.`)
}

function readService(value: string): LentService {
  const [, name = '', url = ''] = /^([^=]+)=(.*)$/.exec(value) ?? []
  const parsed = URL.parse(url)
  if (!lenderName.test(name) || !parsed || !/^https?:$/.test(parsed.protocol))
    throw new Problem('lend_service', `--service: “${value}” is not NAME=URL.`, example)
  // Whether all of it is meant is for its owner to say.
  if (parsed.pathname === '/')
    throw new Problem('lend_service', `--service: “${value}” does not say which path is lent.`, example)
  return { name, url }
}

const example =
  'For example: --service tts=http://127.0.0.1:5002/v1/audio/speech, or …:5002/* for everything there.'
