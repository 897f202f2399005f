/**
 * nftables rules, as texts and applied. Linux answers for the overlay's address on any interface (the weak
 * host model), so a neighbour who routes it at us would be served: nothing from or to the overlay may come by
 * another way. On the hub they also hold who may reach whom. Each text is one transaction, and the same again
 * changes nothing. Source: nft(8).
 */
import { execa } from 'execa'
import { groupByReach, mayReachGateway, mayReachHost, type Node, type Rule } from '#overlay/access.ts'
import { hubAddresses, type AddressPair, type Ranges } from '#overlay/addresses.ts'
import { run } from './tools.ts'

export interface HubFirewall {
  readonly interface: string
  readonly ranges: Ranges
  readonly nodes: readonly (Node & AddressPair)[]
  readonly rules: readonly Rule[]
  /** TCP port of the gateway; undefined before it listens. */
  readonly port: number | undefined
  /** Whether forwarding of IPv6 is on for our sake alone: then nothing else is forwarded. */
  readonly opened6: boolean
}

/** @internal how a later run knows that forwarding is on for our sake */
export const opened6Mark = 'forwarding was off before Sotto'

export function hubRules(firewall: HubFirewall): string {
  const { interface: name, ranges, nodes, rules, port, opened6 } = firewall
  const groups = groupByReach(nodes, rules)
  const numbered = groups.flatMap(({ members }, at) => members.map((node) => ({ node, group: at + 1 })))
  const reached = groups.flatMap(({ reaches }, at) => reaches.map((node) => ({ node, group: at + 1 })))
  const kept = nodes.filter((node) => !mayReachGateway(node, rules))
  const hosts = nodes.filter((node) => mayReachHost(node, rules))
  const sets = ([4, 6] as const).map((version) => {
    const type = `ipv${version}_addr`
    const address = (node: AddressPair) => node[`address${version}`]
    return [
      named(
        'map',
        `group${version}`,
        `${type} : mark`,
        numbered.map(({ node, group }) => `${address(node)} : ${group}`),
      ),
      named(
        'set',
        `reach${version}`,
        `mark . ${type}`,
        reached.map(({ node, group }) => `${group} . ${address(node)}`),
      ),
      named('set', `denied${version}`, type, kept.map(address)),
      named('set', `hosts${version}`, type, hosts.map(address)),
    ].join('\n')
  })
  const others = `iifname != "${name}" oifname != "${name}"`
  return transaction(
    name,
    `${sets.join('\n')}
${wayIn(ranges, [name], hubAddresses(ranges))}
  chain local {
    type filter hook input priority filter; policy accept;
    iifname != "${name}" accept
    ip saddr @denied4 reject with icmpx admin-prohibited
    ip6 saddr @denied6 reject with icmpx admin-prohibited
    ct state established,related accept
    meta l4proto { icmp, ipv6-icmp } accept${port === undefined ? '' : `\n    tcp dport ${port} accept`}
    ip saddr @hosts4 accept
    ip6 saddr @hosts6 accept
    reject with icmpx admin-prohibited
  }
  chain through {
    type filter hook forward priority filter; policy accept;
${opened6 ? `    ${others} meta nfproto ipv6 drop comment "${opened6Mark}"\n` : ''}    ${others} accept
    iifname "${name}" oifname "${name}" jump between
    drop
  }
  chain between {
    meta mark set ip saddr map @group4
    meta mark . ip daddr @reach4 accept
    meta mark set ip6 saddr map @group6
    meta mark . ip6 daddr @reach6 accept
    ct direction original reject with icmpx admin-prohibited
    meta mark set ct original ip saddr map @group4
    meta mark . ct original ip daddr @reach4 accept
    meta mark set ct original ip6 saddr map @group6
    meta mark . ct original ip6 daddr @reach6 accept
    reject with icmpx admin-prohibited
  }`,
  )
}

/** For a joined device: its overlay addresses answer on its overlay interfaces alone, and it forwards nothing. */
export function deviceRules(
  interfaces: readonly [string, ...string[]],
  ranges: Ranges,
  self: AddressPair,
): string {
  const set = quoted(interfaces)
  return transaction(
    interfaces[0],
    `${wayIn(ranges, interfaces, self)}
  chain through {
    type filter hook forward priority filter; policy accept;
    iifname { ${set} } drop
    oifname { ${set} } drop
  }`,
  )
}

/** Puts rules in place of those that were there, all or none. */
export async function applyRules(rules: string): Promise<void> {
  await run('nft', ['-f', '-'], rules)
}

/** The rules of an interface as they are; undefined where there are none. */
export async function readRules(name: string): Promise<string | undefined> {
  const { failed, stdout } = await execa('nft', ['-t', 'list', 'table', 'inet', table(name)], {
    reject: false,
  })
  return failed ? undefined : stdout
}

/** A no-op where there are none. */
export async function removeRules(name: string): Promise<void> {
  await execa('nft', ['delete', 'table', 'inet', table(name)], { reject: false })
}

function wayIn({ range4, range6 }: Ranges, interfaces: readonly string[], self: AddressPair): string {
  const outside = `iifname != { "lo", ${quoted(interfaces)} }`
  return `  chain way_in {
    type filter hook prerouting priority raw; policy accept;
    ${outside} ip daddr ${self.address4} drop
    ${outside} ip6 daddr ${self.address6} drop
    ${outside} ip saddr ${range4} drop
    ${outside} ip6 saddr ${range6} drop
  }`
}

function transaction(name: string, body: string): string {
  return `add table inet ${table(name)}
delete table inet ${table(name)}
table inet ${table(name)} {
${body}
}
`
}

function named(kind: 'map' | 'set', name: string, type: string, elements: readonly string[]): string {
  const filled = elements.length === 0 ? '' : ` elements = { ${elements.join(', ')} };`
  return `  ${kind} ${name} { type ${type};${filled} }`
}

function quoted(interfaces: readonly string[]): string {
  return interfaces.map((name) => `"${name}"`).join(', ')
}

function table(name: string): string {
  return `sotto_${name}`
}
