import { execa } from 'execa'
import { z } from 'zod'
import { hubFirewall } from '#enrolment/steps.ts'
import { ok, skipped, warning, type Check } from './check.ts'

const ruleset = z.object({
  nftables: z.array(
    z.looseObject({
      chain: z
        .looseObject({
          table: z.string(),
          name: z.string(),
          hook: z.string().optional(),
          policy: z.string().optional(),
        })
        .optional(),
      rule: z.looseObject({ table: z.string(), chain: z.string(), expr: z.unknown() }).optional(),
    }),
  ),
})

export const firewall: Check = {
  code: 'firewall',
  name: 'Firewall',
  async run({ network }) {
    const { failed: unreadable, stdout } = await execa('nft', ['-j', 'list', 'ruleset'], { reject: false })
    if (unreadable) return skipped('nftables can’t be read: run it as root')
    const { nftables } = ruleset.parse(JSON.parse(stdout))
    const dropping = nftables.flatMap(({ chain }) =>
      chain?.hook === 'input' && chain.policy === 'drop' ? [chain] : [],
    )
    // A rule that names our port, or accepts UDP as a whole, lets handshakes in.
    const port = new RegExp(`\\b${network.listenPort}\\b`)
    const shut = dropping.filter(
      ({ table }) =>
        !nftables.some(({ rule }) => rule?.table === table && port.test(JSON.stringify(rule.expr))),
    )
    if (shut.length === 0) return ok('nothing here drops what comes to the UDP port')
    const rules = hubFirewall(network.listenPort)
    const table = shut.map(({ table: name, name: chain }) => `${name} ${chain}`).join(', ')
    const remedy = table.includes('ufw')
      ? rules.ufw
      : table.includes('firewalld')
        ? rules.firewalld
        : rules.nftables
    return warning(
      `This machine drops what comes in unasked (${table}), and no rule names UDP ${network.listenPort}`,
      remedy,
    )
  },
}
