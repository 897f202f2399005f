/**
 * What a lender answers, whoever asks: inference, by method and exact path. What changes models or speaks for the
 * owner's account is on no list, so no setting of the gateway's can open it.
 */
import { Failure } from '../failure.ts'

/** A service as its owner lends it. */
export interface LentService {
  readonly name: string
  /** Its address with the path that is lent; one that ends in `/*` stands for what is below it. */
  readonly url: string
}

export interface Lending {
  /** URLs, without a `/` at their end. */
  readonly ollama?: string
  readonly whisper?: string
  readonly services: readonly LentService[]
}

export interface Target {
  readonly origin: string
  /** With the query. */
  readonly path: string
  /** What was asked, for people and counts. */
  readonly service: string
}

const models: Readonly<Record<string, readonly string[]>> = {
  '/api/version': ['GET'],
  '/api/tags': ['GET'],
  '/api/ps': ['GET'],
  '/api/show': ['POST'],
  '/api/chat': ['POST'],
  '/api/generate': ['POST'],
  '/api/embed': ['POST'],
  '/api/embeddings': ['POST'],
  '/v1/models': ['GET'],
  '/v1/chat/completions': ['POST'],
  '/v1/completions': ['POST'],
  '/v1/embeddings': ['POST'],
  '/v1/responses': ['POST'],
  '/v1/messages': ['POST'],
}
const recordings: Readonly<Record<string, readonly string[]>> = {
  '/health': ['GET'],
  '/v1/models': ['GET'],
  '/inference': ['POST'],
  '/asr': ['POST'],
  '/v1/audio/transcriptions': ['POST'],
  '/v1/audio/translations': ['POST'],
}
/** What looks and asks, and nothing that puts or deletes. */
const anyService = new Set(['GET', 'HEAD', 'POST'])
/** Of Ollama, wherever it hides: a service that is lent may be one. */
const mutations = /\/api\/(?:pull|push|create|copy|delete|blobs|me|signout|user|experimental)(?:\/|$)/i

/**
 * Where a request of the gateway's goes. Its path begins with what it is for: `/ollama/api/chat`,
 * `/whisper/inference`, `/services/NAME/…`. Throws a `Failure`: `not_found`, `method`, `forbidden`.
 */
export function targetOf(lending: Lending, method: string, asked: string): Target {
  const [path = '', query] = asked.split('?', 2)
  if (!isPlain(path)) throw nothingThere()
  const [, service = '', rest = ''] = /^\/([a-z]+)(\/.*)$/.exec(path) ?? []
  if (mutations.test(path)) throw new Failure('forbidden', 'This machine lends inference, and nothing else.')
  if (service === 'ollama' || service === 'whisper') {
    const methods = (service === 'ollama' ? models : recordings)[rest]
    const url = lending[service]
    if (!methods || url === undefined) throw nothingThere()
    if (!methods.includes(method)) throw new Failure('method', `${rest} is not asked by ${method}.`)
    // No query means anything to them but to whisper-asr-webservice.
    return at(url + rest, rest === '/asr' ? query : undefined, service)
  }
  if (service !== 'services') throw nothingThere()
  const [, name = '', below = '/'] = /^\/([a-z0-9-]+)(\/.*)?$/.exec(rest) ?? []
  const found = lending.services.find((one) => one.name === name)
  if (!found || !lends(found, below)) throw nothingThere()
  if (!anyService.has(method)) throw new Failure('method', `${name} is not asked by ${method}.`)
  return at(new URL(found.url).origin + below, query, name)
}

function lends({ url }: LentService, path: string): boolean {
  const { pathname } = new URL(url)
  return pathname.endsWith('/*') ? path.startsWith(pathname.slice(0, -1)) : path === pathname
}

function at(url: string, query: string | undefined, service: string): Target {
  const { origin, pathname } = new URL(url)
  return { origin, path: query === undefined ? pathname : `${pathname}?${query}`, service }
}

/** No dots, nothing encoded that could be some, and nothing twice: what is compared is what is asked. */
function isPlain(path: string): boolean {
  return !/%2e|%2f|%5c|\\|\/\.{1,2}(?:\/|$)|\/\//i.test(path)
}

function nothingThere(): Failure {
  return new Failure('not_found', 'This machine does not lend that.')
}
