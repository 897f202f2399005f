/** `sotto federation grant`, `revoke` and `grants`: which models of ours a friend may use. */
import {
  acted,
  common,
  table,
  withNetwork,
  type CommonOptions,
} from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import { Command } from 'commander'

export function grantCommand(output: Output): Command {
  return common(new Command('grant'))
    .description('let a friend use models of ours; they are shown there as MODEL@us')
    .argument('<friend>')
    .argument('<models...>', 'names, where * stands for any text')
    .action(async (friend: string, models: readonly string[], options: CommonOptions) => {
      const { grantModels } = await import('@sotto/provisioning/registry/grant.ts')
      await withNetwork(options, async (opened) => {
        const granted = await grantModels(opened.database, friend, models)
        await acted(opened)
        output.result(
          { friend, models: granted },
          `${friend} may use ${granted.join(', ')}. How much: ./sotto limit tenant:friend-${friend} --tokens-per-day N`,
        )
      })
    })
}

export function revokeCommand(output: Output): Command {
  return common(new Command('revoke'))
    .description('take models from a friend: they are asked for no more')
    .argument('<friend>')
    .argument('<models...>', 'as they were granted')
    .action(async (friend: string, models: readonly string[], options: CommonOptions) => {
      const { revokeModels } = await import('@sotto/provisioning/registry/grant.ts')
      await withNetwork(options, async (opened) => {
        const left = await revokeModels(opened.database, friend, models)
        await acted(opened)
        output.result({ friend, models: left }, `${friend} may use ${left.join(', ') || 'nothing'} now.`)
      })
    })
}

export function grantsCommand(output: Output): Command {
  return common(new Command('grants'))
    .description('which models of ours each friend may use')
    .action(async (options: CommonOptions) => {
      const { listFriends } = await import('@sotto/provisioning/registry/friend.ts')
      const { readGrants } = await import('@sotto/provisioning/registry/grant.ts')
      await withNetwork(options, async ({ database }) => {
        const grants = await readGrants(database)
        const friends = (await listFriends(database)).map(({ name, meshId }) => ({
          name,
          models: grants.get(meshId)?.models ?? [],
        }))
        output.result(
          { friends },
          friends.length === 0
            ? 'There is no friend yet: ./sotto federation invite NAME'
            : table([
                ['FRIEND', 'MAY USE'],
                ...friends.map(({ name, models }) => [name, models.join(', ') || 'nothing']),
              ]),
        )
      })
    })
}
