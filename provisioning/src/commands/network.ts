/** `sotto network …`: its ranges and endpoint, the hub's config, and who may reach whom. */
import { Command } from 'commander'
import { acted, common, table, withNetwork, type CommonOptions } from './network-state.ts'
import type { Output } from './output.ts'

export function networkCommand(output: Output): Command {
  return new Command('network')
    .description('the network, and who may reach whom in it')
    .addCommand(show(output), { isDefault: true })
    .addCommand(config(output))
    .addCommand(endpoint(output))
    .addCommand(rules(output))
    .addCommand(rule(output, 'allow', 'let a device, a person’s devices or all reach another'))
    .addCommand(rule(output, 'deny', 'keep a device, a person’s devices or all from reaching another'))
    .addCommand(forget(output))
}

function show(output: Output): Command {
  return common(new Command('show'))
    .description('ranges, endpoint and keys')
    .action(async (options: CommonOptions) => {
      const { hubAddresses } = await import('#overlay/addresses.ts')
      await withNetwork(options, async ({ network }) => {
        const hub = hubAddresses(network)
        output.result(
          { network: { ...network, hub } },
          table([
            ['Interface', network.interface],
            ['Ranges', `${network.range4} and ${network.range6}`],
            ['Hub', `${hub.address4} and ${hub.address6}`],
            ['Endpoint', network.endpoint ?? 'not known: npm start -- --endpoint HOST'],
            ['Listens on', `UDP ${network.listenPort}`],
            ['Public key', network.publicKey],
          ]),
        )
      })
    })
}

function config(output: Output): Command {
  return common(new Command('config'))
    .description('write the hub’s config for wg-quick; it holds the private key')
    .requiredOption('--out <file>', 'where to')
    .action(async (options: CommonOptions & { out: string }) => {
      const { saveFile } = await import('#enrolment/enrol.ts')
      const { openNetworkKey } = await import('#network.ts')
      const { makePlan } = await import('#overlay/plan.ts')
      const { readRegistry } = await import('#registry/registry.ts')
      const { hubConfig } = await import('#wireguard/config.ts')
      await withNetwork(options, async ({ state, database, network }) => {
        const privateKey = openNetworkKey(state, network)
        const { peers } = makePlan(network, privateKey, await readRegistry(database))
        const file = await saveFile(options.out)
        await file.write(hubConfig(network, privateKey, peers))
        output.result(
          { file: options.out, peers: peers.length },
          `The hub's config is in ${options.out}; it holds its private key.`,
        )
      })
    })
}

function endpoint(output: Output): Command {
  return common(new Command('endpoint'))
    .description('set under which address devices reach this machine')
    .argument('<host>', 'a name or address, with or without :port')
    .action(async (host: string, options: CommonOptions) => {
      const { changeEndpoint } = await import('#network.ts')
      await withNetwork(options, async ({ database, network }) => {
        const changed = await changeEndpoint(database, network, host)
        output.result(
          { network: changed },
          `New devices dial ${changed.endpoint}, and joined devices follow by themselves. Others keep the endpoint in their config: change it there.`,
        )
      })
    })
}

function rules(output: Output): Command {
  return common(new Command('rules'))
    .description('who may reach whom beside the default')
    .action(async (options: CommonOptions) => {
      const { nameRules } = await import('#registry/rule.ts')
      await withNetwork(options, async ({ database }) => {
        const named = await nameRules(database)
        const rows = named.map(({ id, action, from, to }) => [String(id), action, from, to])
        output.result(
          { rules: named },
          [
            'By default devices of one person reach each other, every device reaches the gateway, and nothing else.',
            ...(named.length === 0 ? [] : [table([['RULE', '', 'FROM', 'TO'], ...rows])]),
          ].join('\n'),
        )
      })
    })
}

function rule(output: Output, action: 'allow' | 'deny', description: string): Command {
  const parties = 'all, person:NAME or device:NAME'
  return common(new Command(action))
    .description(description)
    .argument('<from>', parties)
    .argument('<to>', `${parties}, gateway, or host: the hub’s machine with all its ports`)
    .action(async (from: string, to: string, options: CommonOptions) => {
      const { addRule } = await import('#registry/rule.ts')
      await withNetwork(options, async (opened) => {
        const added = await addRule(opened.database, { action, from, to })
        await acted(opened)
        output.result(
          { rule: added },
          `Rule ${added.id}: ${action} ${from} → ${to}. Take it back: ./sotto network forget ${added.id}`,
        )
      })
    })
}

function forget(output: Output): Command {
  return common(new Command('forget'))
    .description('take a rule back')
    .argument('<rule>', 'its number, from ./sotto network rules')
    .action(async (id: string, options: CommonOptions) => {
      const { removeRule } = await import('#registry/rule.ts')
      await withNetwork(options, async (opened) => {
        await removeRule(opened.database, Number(id))
        await acted(opened)
        output.result({ rule: Number(id) }, `Rule ${id} is gone.`)
      })
    })
}
