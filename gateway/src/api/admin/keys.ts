/** API keys, for programs. */
import { findDevice } from '@sotto/provisioning/registry/device.ts'
import {
  addKey,
  defaultOverlapMs,
  expireKey,
  findKey,
  removeKey,
  rotateKey,
  setKeyDisabled,
} from '@sotto/provisioning/registry/key.ts'
import { personOf } from '@sotto/provisioning/registry/person.ts'
import { viewKeys } from '@sotto/provisioning/registry/view.ts'
import { z } from 'zod'
import type { Reports } from '#ledger/reports.ts'
import type { KeyList, KeyStatus, MadeKeyAnswer } from '#protocol/admin.ts'
import { Failure } from '../../failure.ts'
import type { Route } from '../route.ts'
import { changing, nothing, type ChangeDeps } from './change.ts'
import { made, name, named, time } from './named.ts'
import { reading } from './reading.ts'

export interface KeysDeps extends ChangeDeps {
  readonly reports: Pick<Reports, 'keyUses'>
}

const keys = '/sotto/admin/keys'
const yearMs = 365 * 86_400_000
const names = z.array(z.string().min(1).max(200)).min(1).max(100)

const wish = z.strictObject({
  name,
  person: name.optional(),
  device: name.optional(),
  ranges: names.optional(),
  services: names.optional(),
  models: names.optional(),
  promptLogMs: z.int().min(60_000).max(yearMs).optional(),
  expiresAt: time.optional(),
})
const rotation = z.strictObject({ overlapMs: z.int().min(0).max(yearMs).optional() }).optional()
const change = z.strictObject({
  disabled: z.boolean().optional(),
  expiresAt: time.nullable().optional(),
})

export function keyRoutes(deps: KeysDeps): Route[] {
  const { database } = deps
  return [
    reading(
      keys,
      'The keys, where they may be used, and when they were last',
      async () => ({ keys: await listKeyStatuses(deps) }) satisfies KeyList,
    ),
    changing(deps, {
      method: 'POST',
      path: keys,
      summary: 'Make a key; its secret is shown once',
      body: wish,
      status: 201,
      async apply({ name: wanted, person, device, services, models, ranges, promptLogMs, expiresAt }, call) {
        const { key, secret } = await addKey(database, {
          name: wanted,
          person: await personOf(database, person),
          ...(device !== undefined && { device: await findDevice(database, device) }),
          ...(ranges && { ranges }),
          ...(promptLogMs !== undefined && { promptLogMs }),
          ...(expiresAt && { expiresAt }),
          ...((services || models) && { allowance: { services: services ?? null, models: models ?? null } }),
        })
        made(call, keys, key.name)
        return { key: await keyStatus(deps, key.name), secret } satisfies MadeKeyAnswer
      },
    }),
    changing(deps, {
      method: 'POST',
      path: `${keys}/:name/rotation`,
      summary: 'Give a key another secret; the old one goes on for a while',
      body: rotation,
      async apply(sent, call) {
        const { key, secret } = await rotateKey(database, named(call), sent?.overlapMs ?? defaultOverlapMs)
        return { key: await keyStatus(deps, key.name), secret } satisfies MadeKeyAnswer
      },
    }),
    changing(deps, {
      method: 'PATCH',
      path: `${keys}/:name`,
      summary: 'Disable or enable a key, or say until when it is of use',
      body: change,
      async apply({ disabled, expiresAt }, call) {
        const key = await findKey(database, named(call))
        if (disabled !== undefined) await setKeyDisabled(database, key.name, disabled)
        if (expiresAt !== undefined) await expireKey(database, key.name, expiresAt)
        return keyStatus(deps, key.name)
      },
    }),
    changing(deps, {
      method: 'DELETE',
      path: `${keys}/:name`,
      summary: 'End a key for good',
      body: nothing,
      async apply(_, call) {
        await removeKey(database, named(call))
        return undefined
      },
    }),
  ]
}

export async function keyStatus(
  deps: Pick<KeysDeps, 'database' | 'reports'>,
  of: string,
): Promise<KeyStatus> {
  const found = (await listKeyStatuses(deps)).find((key) => key.name === of)
  if (!found) throw new Failure('conflict', `The key “${of}” was removed meanwhile.`)
  return found
}

/** @param of a person’s id; left out, all keys */
export async function listKeyStatuses(
  { database, reports }: Pick<KeysDeps, 'database' | 'reports'>,
  of?: string,
): Promise<KeyStatus[]> {
  const uses = await reports.keyUses()
  const all = await viewKeys(database)
  const wanted = all.filter(({ personId }) => of === undefined || personId === of)
  return wanted.map((key) => {
    const use = uses.get(key.id)
    return {
      name: key.name,
      person: key.person,
      state: key.state,
      prefixes: key.prefixes,
      device: key.device,
      ranges: key.ranges,
      services: key.services,
      models: key.models,
      promptLogMs: key.promptLogMs,
      createdAt: key.createdAt,
      expiresAt: key.expiresAt,
      lastUsedAt: use ? new Date(use.lastAt).toISOString() : null,
      lastAddress: use?.address ?? null,
      requests: use?.requests ?? 0,
    }
  })
}
