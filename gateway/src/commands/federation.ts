/** `sotto federation`: friends' gateways, and other meshes on our relay. */
import {
  acted,
  common,
  table,
  withNetwork,
  type CommonOptions,
  type Opened,
} from '@sotto/provisioning/commands/network-state.ts'
import type { Output } from '@sotto/provisioning/commands/output.ts'
import type { Mesh } from '@sotto/provisioning/registry/mesh.ts'
import { Command } from 'commander'
import { grantCommand, grantsCommand, revokeCommand } from './federation-grants.ts'
import { when } from './ledger-state.ts'

export function federationCommand(output: Output): Command {
  return new Command('federation')
    .description('friends’ gateways: let one in, join one, see who is there')
    .addCommand(invite(output))
    .addCommand(join(output))
    .addCommand(list(output))
    .addCommand(remove(output))
    .addCommand(grantCommand(output))
    .addCommand(revokeCommand(output))
    .addCommand(grantsCommand(output))
}

function invite(output: Output): Command {
  return common(new Command('invite'))
    .description('show a code by which a friend’s gateway joins ours, once, within seven days')
    .argument('<name>', 'what to call the friend, for example ada')
    .action(async (name: string, options: CommonOptions) => {
      const { inviteFriend } = await import('#federation/invitation.ts')
      await withNetwork(options, async (opened) => {
        const made = await inviteFriend(opened.database, opened.state.certs, name)
        const addresses = await relayAddresses(opened)
        output.result(
          { ...made, addresses },
          [
            made.code,
            '',
            `Good once, until ${when(Date.parse(made.expiresAt))}. Whoever has it can join as “${made.name}”. Your friend runs:`,
            ...addresses.map((address) => `  ./sotto federation join ${address} --name YOU`),
            ...(addresses.length === 1
              ? [
                  '',
                  'The relay is open to devices of this network alone; config.yaml lets friends in from elsewhere: relay.outside',
                ]
              : []),
          ].join('\n'),
        )
      })
    })
}

function join(output: Output): Command {
  return common(new Command('join'))
    .description('join a friend’s gateway; the code of its invitation is asked for, or read from stdin')
    .argument('<url>', 'its relay: wss://…')
    .requiredOption('--name <name>', 'what to call the friend, for example bob')
    .option('--mesh-id <id>', 'by which a relay of another kind knows us; then its secret is asked for')
    .action(async (url: string, options: CommonOptions & { name: string; meshId?: string }) => {
      const { joinRelay } = await import('#federation/join.ts')
      const { openState } = await import('@sotto/provisioning/state.ts')
      const { checkFriendName } = await import('@sotto/provisioning/registry/friend.ts')
      // Nobody shall look a code up for nothing.
      openState(options.state)
      checkFriendName(options.name)
      const code = await readCode(options.meshId === undefined ? 'Invitation:' : 'Secret:')
      await withNetwork(options, async (opened) => {
        const { name, meshId } = options
        const joined = await joinRelay(opened.database, {
          url,
          name,
          code,
          ...(meshId !== undefined && { meshId }),
        })
        await acted(opened)
        output.result(joined, `“${joined.name}” is your friend now: ${joined.url}`)
      })
    })
}

function list(output: Output): Command {
  return common(new Command('list'))
    .description('friends, meshes on our relay, and invitations that wait')
    .action(async (options: CommonOptions) => {
      const { listFriends } = await import('@sotto/provisioning/registry/friend.ts')
      const { listMeshes, listMeshInvitations } = await import('@sotto/provisioning/registry/mesh.ts')
      await withNetwork(options, async ({ database }) => {
        const friends = await listFriends(database)
        const meshes = (await listMeshes(database)).map(withoutSecret)
        const invitations = await listMeshInvitations(database)
        const lines = [
          ...friends
            .filter(({ relay }) => relay)
            .map(({ name, relay, createdAt }) => [
              name,
              'we joined',
              relay?.url ?? '',
              when(Date.parse(createdAt)),
            ]),
          ...meshes.map(({ name, meshId, address, lastAt }) => [
            name,
            friends.some((friend) => friend.meshId === meshId) ? 'joined us' : 'mesh',
            address ?? '',
            lastAt === null ? 'never' : when(Date.parse(lastAt)),
          ]),
          ...invitations.map(({ name, expiresAt }) => [
            name,
            'invited',
            '',
            `until ${when(Date.parse(expiresAt))}`,
          ]),
        ]
        output.result(
          {
            friends: friends.map(({ relay, ...friend }) => ({ ...friend, url: relay?.url ?? null })),
            meshes,
            invitations,
          },
          table([['NAME', '', 'WHERE', 'SINCE'], ...lines]),
        )
      })
    })
}

function remove(output: Output): Command {
  return common(new Command('remove'))
    .description('end it with a friend or mesh, or take an invitation back; its connection ends at once')
    .argument('<name>')
    .action(async (name: string, options: CommonOptions) => {
      const { removeFriend } = await import('@sotto/provisioning/registry/friend.ts')
      await withNetwork(options, async (opened) => {
        await removeFriend(opened.database, name)
        await acted(opened)
        output.result({ name, removed: true }, `“${name}” is gone.`)
      })
    })
}

function withoutSecret({ meshId, name, createdAt, lastAt, address }: Mesh): Omit<Mesh, 'secretHash'> {
  return { meshId, name, createdAt, lastAt, address }
}

/** Where our relay is reached, the one that is open to all first. */
async function relayAddresses({ state, network }: Opened): Promise<string[]> {
  const { readRunning } = await import('#announcement.ts')
  const running = await readRunning(state)
  if (running) return [...running.relay]
  const { defaultPort, readConfig } = await import('../config.ts')
  const { relayAddressesOf } = await import('#federation/addresses.ts')
  const { file } = readConfig({ state: state.directory })
  return relayAddressesOf(file, network, network.gatewayPort ?? defaultPort)
}

/** From the terminal, unseen; else the first line of what comes in, never from the arguments. */
async function readCode(message: string): Promise<string> {
  if (!process.stdin.isTTY) {
    const { text } = await import('node:stream/consumers')
    return (await text(process.stdin)).split(/\r?\n/, 1)[0] ?? ''
  }
  const { default: ask } = await import('@inquirer/password')
  return ask({ message }, { output: process.stderr })
}
