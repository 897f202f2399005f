/** Who may reach whom, beside the default. */
import { addRule, nameRules, removeRule } from '@sotto/provisioning/registry/rule.ts'
import { z } from 'zod'
import type { Member } from '#identity/caller.ts'
import type { RuleList, RuleStatus } from '#protocol/admin.ts'
import type { Route } from '../route.ts'
import { changing, conflict, nothing, type ChangeDeps } from './change.ts'
import { made } from './named.ts'
import { reading } from './reading.ts'

const rules = '/sotto/admin/rules'
const party = z.string().max(300).trim().normalize('NFC')
const rule = z.strictObject({ action: z.enum(['allow', 'deny']), from: party, to: party })

export function ruleRoutes(deps: ChangeDeps): Route[] {
  const { database } = deps
  return [
    reading(
      rules,
      'Who may reach whom, beside the default',
      async () => ({ rules: await nameRules(database) }) satisfies RuleList,
    ),
    changing(deps, {
      method: 'POST',
      path: rules,
      summary: 'Allow or deny a device, a person’s devices or all to reach another',
      body: rule,
      status: 201,
      async apply(wanted, call) {
        if (wanted.action === 'deny' && wanted.to === 'gateway' && names(wanted.from, call.caller))
          throw conflict(
            'own_device',
            'This would keep the device that you are on from the gateway.',
            `Do it on the gateway’s machine: ./sotto network deny "${wanted.from}" gateway`,
          )
        const added: RuleStatus = await addRule(database, wanted)
        made(call, rules, added.id)
        return added
      },
    }),
    changing(deps, {
      method: 'DELETE',
      path: `${rules}/:id`,
      summary: 'Take a rule back',
      body: nothing,
      async apply(_, { c }) {
        await removeRule(database, Number(c.req.param('id')))
        return undefined
      },
    }),
  ]
}

function names(from: string, { deviceId, name, person }: Member): boolean {
  return deviceId !== undefined && ['all', `person:${person}`, `device:${name}`].includes(from)
}
