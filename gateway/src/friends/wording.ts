/** What a friend's gateway refused or could not do, told to our own people: who it was, and what helps. */
import { saidIn, waitOf, type Refused, type Wording } from '#engines/forward.ts'
import { Failure } from '../failure.ts'

/** Its tunnel is looked for again and again. */
const comeAgain = { retryAfter: 5 }

export function away(friend: string, cause?: unknown): Failure {
  return new Failure('unavailable', awayText(friend), cause, comeAgain)
}

export function awayText(friend: string): string {
  return `${friend}’s gateway is away. Its models answer again as soon as it is back.`
}

export function wordingOf(friend: string): Wording {
  return {
    away: (cause) => (cause instanceof Failure ? cause : away(friend, cause)),
    brokenOff: `${friend}’s gateway broke off before its answer was whole.`,
    refusal: (refused) => refusalOf(friend, refused),
  }
}

function refusalOf(friend: string, { status, body, retryAfter, hopeless }: Refused): Failure {
  const said = saidIn(body)
  const wait = waitOf(retryAfter)
  if (status === 429)
    return hopeless
      ? new Failure(
          'quota',
          `The budget that ${friend} gives this gateway is spent. Ask ${friend} for more, or wait until its time is over.`,
          body,
          wait,
        )
      : new Failure(
          'rate_limited',
          `${friend} lets this gateway ask only so often. Try again${wait.retryAfter === undefined ? ' later' : ` in ${wait.retryAfter} s`}.`,
          body,
          wait,
        )
  if (status === 401 || status === 403)
    return new Failure(
      'forbidden',
      `${friend} does not let this gateway use that. Ask ${friend} to grant it: ./sotto federation grant`,
      body,
    )
  if (status === 404)
    return new Failure(
      'not_found',
      `model: ${friend} shares it with this gateway no more, or not in this API. Ask ${friend} to grant it: ./sotto federation grant`,
      body,
    )
  // What is wrong with the request itself is said by whoever read it.
  if (status === 400 || status === 422)
    return new Failure(
      'invalid',
      `${said ?? 'The request was refused.'} (So says ${friend}’s gateway.)`,
      body,
    )
  if (status === 413) return new Failure('too_large', `The body is too large for ${friend}’s gateway.`, body)
  if (status === 503)
    return new Failure(
      'busy',
      `${friend}’s gateway has no engine free for this now. Try again later.`,
      body,
      { ...comeAgain, ...wait },
    )
  return new Failure('bad_upstream', `${friend}’s gateway failed at this request (status ${status}).`, body)
}
