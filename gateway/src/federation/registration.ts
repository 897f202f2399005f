/**
 * `POST /register`, by which a mesh comes to be one of ours: with an invitation, or a key that may. Strangers are not
 * let in, and nobody takes the place of one that is there.
 */
import type { IncomingMessage } from 'node:http'
import type { Database } from '@sotto/provisioning/database.ts'
import { isDiskProblem } from '@sotto/provisioning/disk.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { addInvitedFriend } from '@sotto/provisioning/registry/friend.ts'
import { addMesh, redeemMeshInvitation } from '@sotto/provisioning/registry/mesh.ts'
import { z } from 'zod'
import { readText } from '#api/body.ts'
import { isRecord, parseJson } from '#engines/json.ts'
import type { Member } from '#identity/caller.ts'
import { Failure } from '../failure.ts'

export interface RegistrationDeps {
  readonly database: Database
  readonly self: { readonly meshId: string; readonly name: string }
  /** Takes up the registry as it is now. */
  follow(): Promise<unknown>
}

/** The service that a key must be allowed by its name, so that it may register meshes. */
export const relayService = 'relay'

const largestBody = 16 * 1024

const wish = z.object({
  meshId: z.string().regex(/^[\w.:@-]{1,100}$/, '1 to 100 letters, digits and . : @ _ -'),
  secret: z.string().min(16, 'at least 16 characters').max(200, 'at most 200 characters'),
  name: z.string(),
  invitation: z.string().max(200).optional(),
  /** What only gateways of our kind send. */
  sotto: z.object({ v: z.literal(1) }).optional(),
})

/**
 * Answers as the protocol does, `{ok: true}`; a gateway of our kind is told who we are. Throws a `Failure`.
 * @param caller who sent a key, if anybody did
 */
export async function registerMesh(
  deps: RegistrationDeps,
  incoming: IncomingMessage,
  caller: Member | undefined,
): Promise<object> {
  const { database, self, follow } = deps
  const { meshId, secret, name, invitation, sotto } = readWish(await readText(incoming, largestBody))
  if (meshId === self.meshId) throw new Failure('conflict', 'That mesh is this gateway itself.')
  try {
    if (invitation !== undefined)
      await redeemMeshInvitation(
        database,
        { meshId, secret, token: invitation },
        async (transaction, mesh) => {
          if (sotto) await addInvitedFriend(transaction, mesh)
        },
      )
    else if (mayRegister(caller)) await addMesh(database, { meshId, secret, name })
    else
      throw new Failure(
        'forbidden',
        'Registration is closed: send an invitation of this relay’s admin, or a key that may register meshes.',
      )
  } catch (error) {
    throw error instanceof Problem && !isDiskProblem(error) ? refusal(error) : error
  }
  await follow()
  return { ok: true, ...(sotto && { sotto: self }) }
}

function readWish(text: string): z.infer<typeof wish> {
  const sent = parseJson(text)
  if (!isRecord(sent)) throw new Failure('invalid', 'Invalid JSON')
  if (!sent.meshId || !sent.secret || !sent.name)
    throw new Failure('invalid', 'meshId, secret, and name required')
  const read = wish.safeParse(sent)
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new Failure('invalid', `${issue?.path.join('.')}: ${issue?.message}`)
}

/** Only where the key's own list of services says so. */
function mayRegister(caller: Member | undefined): boolean {
  const own = caller?.held.find(({ subject }) => subject === `key:${caller.key?.id}`)
  return own?.services?.includes(relayService) === true
}

function refusal({ code, message }: Problem): Failure {
  if (code.endsWith('_exists')) return new Failure('conflict', message, undefined, { detail: code })
  if (code.startsWith('invitation_')) return new Failure('forbidden', message, undefined, { detail: code })
  return new Failure('invalid', message, undefined, { detail: code })
}
