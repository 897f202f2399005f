/**
 * Who may reach whom: pure. By default devices of one person reach each other, every device reaches the
 * gateway, and nothing else: not what else listens on the hub's machine either, an Ollama or a shell. A rule
 * allows or denies more; a denial outweighs what allows.
 */

/** What a rule names. */
export type Party =
  | { readonly kind: 'all' }
  | { readonly kind: 'gateway' }
  /** The hub's machine: every port of it. */
  | { readonly kind: 'host' }
  | { readonly kind: 'person'; readonly id: string }
  | { readonly kind: 'device'; readonly id: string }

export interface Rule {
  readonly action: 'allow' | 'deny'
  readonly from: Party
  readonly to: Party
}

export interface Node {
  readonly id: string
  readonly personId: string
}

/** Whether connections from one device to another may open; answers to them may always come back. */
export function mayReach(from: Node, to: Node, rules: readonly Rule[]): boolean {
  return decide(from, rules, (party) => names(party, to), from.personId === to.personId)
}

export function mayReachGateway(from: Node, rules: readonly Rule[]): boolean {
  return decide(from, rules, (party) => party.kind === 'gateway', true)
}

export function mayReachHost(from: Node, rules: readonly Rule[]): boolean {
  return decide(from, rules, (party) => party.kind === 'host', false)
}

/** Devices that may reach the same others: so many rules and set elements, not the square of the devices. */
export interface Group<N extends Node> {
  readonly members: readonly N[]
  readonly reaches: readonly N[]
}

export function groupByReach<N extends Node>(nodes: readonly N[], rules: readonly Rule[]): Group<N>[] {
  const groups = new Map<string, N[]>()
  for (const node of nodes) {
    // Its person and the rules that begin at it are all that its reach depends on.
    const key = `${node.personId} ${rules.map((rule) => (names(rule.from, node) ? '1' : '0')).join('')}`
    const members = groups.get(key)
    if (members) members.push(node)
    else groups.set(key, [node])
  }
  return groups
    .values()
    .map((members) => ({ members, reaches: nodes.filter((to) => mayReach(members[0]!, to, rules)) }))
    .toArray()
}

function decide(
  from: Node,
  rules: readonly Rule[],
  isTarget: (party: Party) => boolean,
  byDefault: boolean,
): boolean {
  const matching = rules.filter((rule) => names(rule.from, from) && isTarget(rule.to))
  if (matching.some((rule) => rule.action === 'deny')) return false
  return byDefault || matching.length > 0
}

function names(party: Party, node: Node): boolean {
  switch (party.kind) {
    case 'all':
      return true
    case 'gateway':
    case 'host':
      return false
    case 'person':
      return party.id === node.personId
    default:
      return party.id === node.id
  }
}
