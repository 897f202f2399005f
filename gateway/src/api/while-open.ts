/** What every service of one request and one answer does alike: admit, be there to be ended, settle. */
import type { Permit } from '#admission/admission.ts'
import { Failure } from '../failure.ts'
import type { ApiDeps } from './inference.ts'
import type { Call } from './route.ts'

/**
 * Admits the call, which takes no tokens, and ends it when its caller is no more.
 *
 * @param task its signal is aborted when the client leaves
 */
export async function whileOpen<T>(
  { caller, outgoing }: Call,
  { admission, recorder }: Pick<ApiDeps, 'admission' | 'recorder'>,
  service: string,
  task: (permit: Permit, left: AbortSignal) => Promise<T>,
): Promise<T> {
  const permit = await admission.admit(caller, { service })
  const left = new AbortController()
  outgoing.once('close', () => left.abort(new Failure('invalid', 'The client left.')))
  const forget = recorder.opened({ caller, end: () => outgoing.destroy() })
  try {
    return await task(permit, left.signal)
  } finally {
    forget()
    permit.settle({ input: 0, output: 0 })
  }
}
