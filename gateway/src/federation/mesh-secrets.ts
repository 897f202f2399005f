/** Whether a mesh's id and secret go together: proved by the slow hash once, then remembered under an HMAC. */
import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Mesh } from '@sotto/provisioning/registry/mesh.ts'
import { verifySecret } from '@sotto/provisioning/registry/secret.ts'
import { RateLimiterMemory } from 'rate-limiter-flexible'

export interface MeshSecrets {
  /** The mesh's name; undefined where they do not. */
  verify(meshId: string, secret: string, address: string): Promise<string | undefined>
}

/** Wrong ones from one address; each costs 13 ms of a core. */
const guessesPerMinute = 20
const longestSecret = 1_000

export function createMeshSecrets(find: (meshId: string) => Promise<Mesh | undefined>): MeshSecrets {
  const pepper = createSecretKey(randomBytes(32))
  const guesses = new RateLimiterMemory({ points: guessesPerMinute, duration: 60 })
  /** By mesh: the hash it was proved against, and the HMAC of the secret. As many as there are meshes. */
  const proved = new Map<string, { readonly hash: string; readonly digest: Buffer }>()
  let turn: Promise<unknown> = Promise.resolve()

  const prove = async (mesh: Mesh, secret: string, address: string): Promise<boolean> => {
    const allowed = await guesses.consume(address).then(
      () => true,
      () => false,
    )
    if (!allowed || !(await verifySecret(mesh.secretHash, secret))) return false
    await guesses.reward(address)
    return true
  }
  return {
    async verify(meshId, secret, address) {
      if (secret.length > longestSecret) return undefined
      const mesh = await find(meshId)
      if (!mesh) {
        proved.delete(meshId)
        return undefined
      }
      const digest = createHmac('sha256', pepper).update(secret).digest()
      const known = proved.get(meshId)
      if (known?.hash === mesh.secretHash && timingSafeEqual(known.digest, digest)) return mesh.name
      // One at a time: a flood of guesses takes one thread of the pool, and never the event loop.
      const proving = turn.then(() => prove(mesh, secret, address))
      turn = proving.catch(() => {})
      if (!(await proving)) return undefined
      proved.set(meshId, { hash: mesh.secretHash, digest })
      return mesh.name
    },
  }
}
