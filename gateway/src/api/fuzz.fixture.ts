/** Every route of `/openapi.json`, asked in every way it should not be. */
import { request as requestPlain } from 'node:http'
import { request as requestSecure } from 'node:https'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { expect } from 'vitest'
import { deep, jsonText, mutated } from '#engines/json.fixture.ts'
import { isRecord, parseJson } from '#engines/json.ts'

/** Another one with `FUZZ_SEED=…`; a failure names its own. */
const seed = Number(process.env.FUZZ_SEED ?? 8)
const perRoute = Number(process.env.FUZZ_RUNS ?? 16)
const atOnce = 12

interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
}
interface Answer {
  readonly status: number
  readonly text: string
}

const oddNames = [
  'x',
  '%00',
  '..%2f..%2fetc%2fpasswd',
  '%ff%fe',
  '%zz',
  '__proto__',
  'constructor',
  '%E2%80%AE',
  'a'.repeat(4_000),
]
const oddQueries = [
  '',
  '?',
  '?limit=-1',
  '?limit=1e9&before=%00',
  '?search=%22%2A%28',
  '?format=__proto__',
  '?since=9e99y',
  `?x=${'y'.repeat(4_000)}`,
]
const oddHeaders: readonly Record<string, string>[] = [
  {},
  { accept: 'text/html' },
  { authorization: 'Bearer sk-sotto-aaaaaaaaaa-wrong' },
  { authorization: 'Basic Og==', 'x-forwarded-for': '10.77.0.1', 'x-real-ip': '127.0.0.1' },
  { 'content-type': 'text/plain' },
  { 'content-type': 'multipart/form-data; boundary=x' },
  { 'content-type': 'application/json; charset=utf-16' },
  { 'content-type': '\u00ff/\u00ff' },
]
const bomb = JSON.stringify('x'.repeat(8_000_000))
const oddBodies: readonly Sent[] = [
  { body: '' },
  { body: 'null' },
  ...['constructor', '__proto__', 'toString:latest', '@', 'tiny@'].map((model) => ({
    body: JSON.stringify({ model, messages: [], prompt: 'Hi', input: 'Hi' }),
  })),
  { body: '[]' },
  { body: '{"model":"tiny"' },
  { body: deep },
  { body: `{"model":"tiny","keep_alive":"${'1'.repeat(100_000)}x"}` },
  { body: `{"model":"tiny","messages":${deep}}` },
  { body: `{"model":${JSON.stringify('x'.repeat(100_000))}}` },
  { body: Buffer.from('{"model":"tiny"}', 'utf16le') },
  { body: Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]) },
  { body: gzipSync(bomb), headers: { 'content-encoding': 'gzip' } },
  { body: zstdCompressSync(Buffer.from(bomb)), headers: { 'content-encoding': 'zstd' } },
  {
    body: '--x\r\ncontent-disposition: form-data; name="file"; filename="../a"\r\n\r\n\r\n--x--',
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
  },
  { body: '--x\r\nno end', headers: { 'content-type': 'multipart/form-data; boundary=x' } },
]

/** What a schema would take, as far as its types go. */
function rightFor(schema: unknown): fc.Arbitrary<unknown> {
  if (!isRecord(schema)) return fc.jsonValue({ maxDepth: 1 })
  const { type, properties, items, enum: known, const: only, anyOf } = schema
  if (only !== undefined) return fc.constant(only)
  if (Array.isArray(known)) return fc.constantFrom(...(known as unknown[]))
  if (Array.isArray(anyOf)) return fc.oneof(...anyOf.map(rightFor))
  if (isRecord(properties))
    return fc.record(
      Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, rightFor(inner)])),
    )
  if (type === 'array') return fc.array(rightFor(items), { maxLength: 2 })
  if (type === 'integer') return fc.integer({ min: 0, max: 200 })
  if (type === 'number') return fc.double({ min: 0, max: 4, noNaN: true })
  if (type === 'boolean') return fc.boolean()
  return fc.constantFrom('tiny', 'phone', 'Ada', '5m', '', '512x512', 'wav', '10.77.0.0/24')
}

interface Sent {
  readonly body: Buffer | string
  readonly headers?: Record<string, string>
}

/** Right but for one field that is nested without an end, once for each. */
function nested(schema: unknown): Sent[] {
  const fields = isRecord(schema) && isRecord(schema.properties) ? Object.keys(schema.properties) : []
  return ['messages', 'tools', 'options', ...fields].map((field) => ({
    body: `{"model":"tiny","messages":[],${JSON.stringify(field)}:${deep}}`,
  }))
}

/** What each route is asked at its own place. */
function plain(path: string, method: string, schema: unknown): Asked[] {
  if (method === 'get' || method === 'delete') return []
  return [...oddBodies, ...nested(schema)].map(({ body, headers }) => ({
    method: method.toUpperCase(),
    path: path.replaceAll(/\{\w+\}/g, 'x'),
    body: Buffer.from(body),
    headers: { 'content-type': 'application/json', ...headers },
  }))
}

function questions(path: string, method: string, schema: unknown): fc.Arbitrary<Asked> {
  const place = fc
    .tuple(fc.constantFrom(...oddNames), fc.constantFrom(...oddQueries))
    .map(([name, query]) => {
      const model = path.replaceAll(/\{\w+\}/g, name).replaceAll('*', name)
      return model + query
    })
  const bodies = fc.oneof(
    fc.constantFrom(...oddBodies),
    jsonText.map((body) => ({ body })),
    mutated(rightFor(schema).map((right) => ({ model: 'tiny', ...(isRecord(right) && right) }))).map(
      (right) => ({
        body: JSON.stringify(right),
      }),
    ),
    rightFor(schema).map((right) => ({ body: JSON.stringify(right) ?? '' })),
  )
  return fc.tuple(place, bodies, fc.constantFrom(...oddHeaders)).map(([asked, sent, headers]) => {
    const body = method === 'get' || method === 'delete' ? undefined : Buffer.from(sent.body)
    return {
      method: method.toUpperCase(),
      path: asked,
      body,
      headers: { 'content-type': 'application/json', ...headers, ...('headers' in sent && sent.headers) },
    }
  })
}

function ask(
  url: string,
  { method, path, headers, body }: Asked,
  own: Record<string, string>,
  from?: string,
): Promise<Answer> {
  const { hostname, port, protocol } = new URL(url)
  const request = protocol === 'https:' ? requestSecure : requestPlain
  return new Promise((settle, fail) => {
    const length = body === undefined ? {} : { 'content-length': String(body.length) }
    const sent = request(
      {
        hostname,
        port,
        method,
        path,
        // Its own certificate, of its own authority.
        rejectUnauthorized: false,
        headers: { ...own, ...headers, ...length },
        ...(from !== undefined && { localAddress: from }),
      },
      (answer) => {
        // Events have no end.
        if (answer.statusCode === 200 && path.startsWith('/sotto/rooms/events')) {
          answer.destroy()
          return settle({ status: answer.statusCode ?? 0, text: '' })
        }
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => (text += chunk))
        answer.once('error', fail)
        answer.once('end', () => settle({ status: answer.statusCode ?? 0, text }))
      },
    )
    sent.once('error', fail)
    sent.end(body)
  })
}

/** An error as the clients of a path read it. */
function isEnvelope(path: string, text: string): boolean {
  const read = parseJson(text)
  if (!isRecord(read)) return false
  const { error, type } = read
  if (path.startsWith('/v1/messages'))
    return type === 'error' && isRecord(error) && typeof error.message === 'string'
  if (/^\/(?:v1|sotto)\//.test(path))
    return isRecord(error) && typeof error.message === 'string' && error.message !== ''
  return (typeof error === 'string' && error !== '') || (isRecord(error) && typeof error.message === 'string')
}

export interface Target {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** What no answer may hold. */
  readonly secrets: readonly string[]
  /** The address that asks. */
  readonly from?: string | undefined
  /** One that may read `/openapi.json`, where `from` may not. */
  readonly member?: string | undefined
  /** What its paths begin with; left out, all are asked. */
  readonly below?: string
  /** Paths that no document names, since they are others' or a person's. */
  readonly more?: readonly string[]
}

/** Asks every route that `/openapi.json` names; gives how many answers there were of each status. */
export async function fuzz({
  url,
  headers,
  secrets,
  from,
  member = from,
  below = '',
  more = [],
}: Target): Promise<Record<number, number>> {
  const document = parseJson(
    (await ask(url, { method: 'GET', path: '/openapi.json', headers, body: undefined }, {}, member)).text,
  )
  const paths = isRecord(document) && isRecord(document.paths) ? document.paths : {}
  // What ends the confirmation or the session comes last.
  const ends = /confirm|session/
  const asked = [
    ...Object.entries(paths).filter(([path]) => path.startsWith(below)),
    ...more.map((path) => [path, { post: {}, delete: {} }] as const),
  ]
  const inOrder = asked.toSorted(([one], [other]) => Number(ends.test(one)) - Number(ends.test(other)))
  const all = inOrder.flatMap(([path, methods]) =>
    Object.entries(isRecord(methods) ? methods : {}).flatMap(([method, operation]) => {
      const schema = JSON.parse(JSON.stringify(operation)).requestBody?.content['application/json']
        .schema as unknown
      const random = fc.sample(questions(path, method, schema), { seed, numRuns: perRoute })
      return [...plain(path, method, schema), ...random]
    }),
  )
  const counts: Record<number, number> = {}
  const wrong: unknown[] = []
  const next = all.values()
  const work = async (): Promise<void> => {
    for (const one of next) {
      const { status, text } = await ask(url, one, headers, from).catch((error: Error) => ({
        status: 0,
        text: error.message,
      }))
      counts[status] = (counts[status] ?? 0) + 1
      const leaks = [...secrets, 'node_modules', 'node:internal', '.ts:'].filter((secret) =>
        text.includes(secret),
      )
      const odd = status === 0 || status === 500 || (status >= 400 && !isEnvelope(one.path, text))
      if (odd || leaks.length > 0)
        wrong.push({
          ...one,
          body: one.body?.toString().slice(0, 300),
          path: one.path.slice(0, 200),
          status,
          leaks,
          text: text.slice(0, 300),
        })
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  expect(wrong, `seed ${seed}`).toEqual([])
  process.stdout.write(
    `${all.length} requests to ${asked.length} paths, by status: ${JSON.stringify(counts)}\n`,
  )
  return counts
}
