/** How an admin's browser comes to be confirmed: by a code of the gateway's machine, or by the password. */
import {
  confirmByCode,
  confirmByPassword,
  endConfirmation,
  setAdminPassword,
} from '@sotto/provisioning/registry/confirmation.ts'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { z } from 'zod'
import { Failure } from '../../failure.ts'
import { ownDialect } from '../envelope.ts'
import type { Call, Route } from '../route.ts'
import { changing, readBody, refuse, requireOwnPage, type ChangeDeps } from './change.ts'
import { giveToken, holderOf, takeToken, tokenOf } from './confirmed.ts'
import { waitMs } from '#admission/wait.ts'
import { noStore } from './reading.ts'

const text = z.string().min(1, 'is empty').max(1_000, 'is too long')
const proof = z.union([z.strictObject({ code: text }), z.strictObject({ password: text })], {
  error: 'send {"code": …} or {"password": …}',
})
const password = z.strictObject({ password: text.nullable() })

/** Of 10⁸ codes that are good for ten minutes; and a slip of the hand is forgiven. */
const triesPerDevice = 5
const triesTogether = 20
const triesSeconds = 15 * 60

export function confirmationRoutes(deps: ChangeDeps): Route[] {
  const { database } = deps
  const perDevice = new RateLimiterMemory({ points: triesPerDevice, duration: triesSeconds })
  const together = new RateLimiterMemory({ points: triesTogether, duration: triesSeconds })

  const confirm = async (call: Call): Promise<Response> => {
    requireOwnPage(call)
    const sent = await readBody(call, proof)
    const holder = holderOf(call.caller)
    // Before it is looked at, since many can come at once.
    await Promise.all([perDevice.consume(holder), together.consume('all')]).catch(tooMany)
    const { token } = await (
      'code' in sent
        ? confirmByCode(database, sent.code, holder)
        : confirmByPassword(database, sent.password, holder)
    ).catch(refuse)
    await Promise.all([perDevice.delete(holder), together.reward('all')])
    giveToken(call, token)
    return call.c.body(null, 204, noStore)
  }
  const end = async (call: Call): Promise<Response> => {
    requireOwnPage(call)
    const token = tokenOf(call)
    if (token !== undefined) await endConfirmation(database, token)
    takeToken(call)
    return call.c.body(null, 204, noStore)
  }
  const place = { group: 'admin', dialect: ownDialect, path: '/sotto/admin/confirmation' } as const
  return [
    {
      ...place,
      method: 'POST',
      summary: 'Confirm that the admin is there, by a code or the password',
      body: proof,
      handle: confirm,
    },
    { ...place, method: 'DELETE', summary: 'Change nothing from this browser any more', handle: end },
    changing(deps, {
      method: 'PUT',
      path: '/sotto/admin/password',
      summary: 'Set the password, or with null take it away; other browsers’ confirmations end',
      body: password,
      async apply(sent, call) {
        await setAdminPassword(database, sent.password, tokenOf(call))
        return undefined
      },
    }),
  ]
}

function tooMany(state: unknown): never {
  if (!(state instanceof RateLimiterRes)) throw state
  const seconds = Math.max(1, Math.ceil(waitMs(state, triesSeconds) / 1000))
  throw new Failure('rate_limited', 'Too many wrong codes or passwords were tried.', undefined, {
    retryAfter: seconds,
    remedy: `Try again in ${Math.ceil(seconds / 60)} minutes.`,
  })
}
