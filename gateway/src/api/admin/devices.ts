/** Devices, and the one-time links that wait to become some. */
import { enrol, offerLink, rotate } from '@sotto/provisioning/enrolment/enrol.ts'
import {
  disableDevice,
  enableDevice,
  expireDevice,
  findDevice,
  removeDevice,
  renameDevice,
} from '@sotto/provisioning/registry/device.ts'
import { listLinks, withdrawLink } from '@sotto/provisioning/registry/link.ts'
import { requireNetwork } from '@sotto/provisioning/registry/network.ts'
import { personOf } from '@sotto/provisioning/registry/person.ts'
import { z } from 'zod'
import type { LinkList, NewDeviceAnswer } from '#protocol/admin.ts'
import type { Call, Route } from '../route.ts'
import { changing, conflict, nothing, type ChangeDeps } from './change.ts'
import { made, name, named, time } from './named.ts'
import { reading } from './reading.ts'

export interface DevicesDeps extends ChangeDeps {
  /** Directory of the CA. */
  readonly certs: string
}

const devices = '/sotto/admin/devices'
const links = '/sotto/admin/links'

const wish = z.strictObject({
  name,
  person: name.optional(),
  by: z.enum(['config', 'link']),
  expiresAt: time.optional(),
  linkLifeMs: z
    .int()
    .min(60_000)
    .max(30 * 86_400_000)
    .optional(),
})
const change = z.strictObject({
  name: name.optional(),
  disabled: z.boolean().optional(),
  expiresAt: time.nullable().optional(),
})

export function deviceRoutes(deps: DevicesDeps): Route[] {
  const { database, certs } = deps
  return [
    changing(deps, {
      method: 'POST',
      path: devices,
      summary: 'Let a device in: by a config that is shown once, or by a one-time link',
      body: wish,
      status: 201,
      async apply(sent, call) {
        const person = await personOf(database, sent.person)
        if (sent.by === 'link') {
          const { linkLifeMs: lifeMs, expiresAt } = sent
          const offered = await offerLink(database, certs, { name: sent.name, person, lifeMs, expiresAt })
          const { link, text, config } = offered
          made(call, links, link.name)
          return {
            by: 'link',
            name: link.name,
            link: { url: text, config, join: `sudo ./sotto join '${text}'`, expiresAt: link.expiresAt },
          } satisfies NewDeviceAnswer
        }
        const { device, config } = await enrol(database, await requireNetwork(database), {
          name: sent.name,
          person,
          ...(sent.expiresAt && { expiresAt: sent.expiresAt }),
        })
        made(call, devices, device.name)
        return { by: 'config', name: device.name, config } satisfies NewDeviceAnswer
      },
    }),
    changing(deps, {
      method: 'PATCH',
      path: `${devices}/:name`,
      summary: 'Rename, disable or enable a device, or say until when it may speak',
      body: change,
      async apply({ name: next, disabled, expiresAt }, call) {
        if (disabled === true || (expiresAt && expiresAt.getTime() <= Date.now()))
          await beElsewhere(call, deps, 'disable')
        // First what can be refused.
        let at = (await findDevice(database, named(call))).name
        if (next !== undefined) at = (await renameDevice(database, at, next)).name
        if (expiresAt !== undefined) await expireDevice(database, at, expiresAt)
        if (disabled !== undefined) await (disabled ? disableDevice : enableDevice)(database, at)
        return undefined
      },
    }),
    changing(deps, {
      method: 'POST',
      path: `${devices}/:name/rotation`,
      summary: 'Give a device new keys; its old ones are of no use at once',
      body: nothing,
      async apply(_, call) {
        await beElsewhere(call, deps, 'rotate')
        const { device, config } = await rotate(database, await requireNetwork(database), named(call))
        return { by: 'config', name: device.name, config } satisfies NewDeviceAnswer
      },
    }),
    changing(deps, {
      method: 'DELETE',
      path: `${devices}/:name`,
      summary: 'Remove a device',
      body: nothing,
      async apply(_, call) {
        await beElsewhere(call, deps, 'remove')
        await removeDevice(database, named(call))
        return undefined
      },
    }),
    reading(links, 'The one-time links that wait to be used', async () => {
      const waiting = await listLinks(database)
      return {
        links: waiting.map(({ name: of, createdAt, expiresAt }) => ({ name: of, createdAt, expiresAt })),
      } satisfies LinkList
    }),
    changing(deps, {
      method: 'DELETE',
      path: `${links}/:name`,
      summary: 'End a one-time link before it is used',
      body: nothing,
      async apply(_, call) {
        await withdrawLink(database, named(call))
        return undefined
      },
    }),
  ]
}

/** What would cut off the device that asks for it: the answer would not arrive, and a new config be lost. */
async function beElsewhere(call: Call, { database }: DevicesDeps, command: string): Promise<void> {
  const device = await findDevice(database, named(call))
  if (device.id === call.caller.deviceId)
    throw conflict(
      'own_device',
      `“${device.name}” is the device that you are on.`,
      `Do it from another one, or on the gateway’s machine: ./sotto device ${command} "${device.name}"`,
    )
}
