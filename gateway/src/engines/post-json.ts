/** A request in JSON to an engine that is no model's: its refusals and its silence as a `Failure`. */
import type { Dispatcher, Pool } from 'undici'
import { Failure } from '../failure.ts'
import { refusal } from './forward.ts'
import { textOf } from './text-of.ts'

/**
 * Resolves when the answer begins.
 *
 * @param engine for people: `speech engine`
 */
export async function postJson(
  pool: Pool,
  engine: string,
  path: string,
  body: object,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const answer = await pool
    .request({
      method: 'POST',
      path,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    })
    .catch((error: unknown) => {
      throw signal.aborted ? error : new Failure('unavailable', `The ${engine} does not answer.`, error)
    })
  if (answer.statusCode >= 300) throw refusal(answer.statusCode, await textOf(answer.body))
  return answer
}

/** What stands in front of each path at an engine’s address, which people write with or without `/v1`. */
export function baseOf(url: string): string {
  return new URL(url).pathname.replace(/\/(?:v1\/?)?$/, '')
}
