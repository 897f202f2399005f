/**
 * What was acknowledged, and what was asked for and not answered: after a crash the first must be so, the second may
 * be so or not, and nothing else may be there.
 */

/** Null: it is not there. */
export type Value = string | null

interface Asked {
  /** It must be so from now on; where there is a time within which it is on disk, from then on, milliseconds. */
  acknowledged(within?: number): void
  /** It was not taken: nothing changed. */
  refused(): void
}

interface Fact {
  /** As it was before; undefined where nobody knows. */
  value: Value | undefined
  /** What it was asked to become. */
  asked?: { readonly value: Value; certainFrom: number }
}

export interface Crash {
  /** When the process was killed, as `performance.now()` has it. */
  readonly at: number
  /** How late it was with what has its time, at the most, milliseconds: a full machine lets nobody run. */
  readonly late: number
}

export interface Witness {
  /** What is asked for at once: names of facts, `kind name`, and what each is to be. */
  asks(...wishes: readonly (readonly [name: string, value: Value])[]): Asked
  /** Something is there, and nobody knows yet how it is. */
  learn(name: string): void
  /** Those of a kind that are there and not in doubt, without their kind. */
  settled(kind: string): readonly string[]
  valueOf(name: string): Value | undefined
  /** Looks at what there is of a kind; says what was lost, and what came from nowhere. */
  compare(kind: string, found: ReadonlyMap<string, string>, crash: Crash): string[]
  /** How often something was acknowledged, of each kind; what follows a colon in it does not count. */
  readonly counts: ReadonlyMap<string, number>
  /** Those whose acknowledged value a crash could have taken, since it came right before it. */
  readonly early: number
}

export function createWitness(): Witness {
  const facts = new Map<string, Map<string, Fact>>()
  const counts = new Map<string, number>()
  let early = 0
  const ofKind = (kind: string): Map<string, Fact> => {
    const found = facts.get(kind) ?? new Map<string, Fact>()
    facts.set(kind, found)
    return found
  }
  const parse = (name: string): [kind: string, rest: string] => {
    const at = name.indexOf(' ')
    return [name.slice(0, at), name.slice(at + 1)]
  }
  return {
    counts,
    get early() {
      return early
    },
    asks(...wishes) {
      const taken = wishes.map(([name, value]) => {
        const [kind, rest] = parse(name)
        const known = ofKind(kind).get(rest)
        const fact: Fact = known ?? { value: null }
        const asked = { value, certainFrom: Infinity }
        fact.asked = asked
        ofKind(kind).set(rest, fact)
        return { kind, fact, asked }
      })
      return {
        acknowledged(within) {
          for (const { fact, asked } of taken) {
            asked.certainFrom = within === undefined ? 0 : performance.now() + within
            if (within !== undefined) continue
            fact.value = asked.value
            delete fact.asked
          }
          const [first] = taken
          const [kind] = first?.kind.split(':') ?? []
          if (kind !== undefined) counts.set(kind, (counts.get(kind) ?? 0) + 1)
        },
        refused() {
          for (const { fact } of taken) delete fact.asked
        },
      }
    },
    learn(name) {
      const [kind, rest] = parse(name)
      ofKind(kind).set(rest, { value: undefined })
    },
    settled: (kind) =>
      [...ofKind(kind)].flatMap(([name, { value, asked }]) => (value === null || asked ? [] : [name])),
    valueOf(name) {
      const [kind, rest] = parse(name)
      return ofKind(kind).get(rest)?.value
    },
    compare(kind, found, { at, late }) {
      const lost: string[] = []
      for (const [name, fact] of ofKind(kind)) {
        const is = found.get(name) ?? null
        const { value, asked } = fact
        const certain = asked !== undefined && asked.certainFrom + late <= at
        if (asked && !certain && asked.certainFrom < Infinity && is !== asked.value) early += 1
        const allowed = certain ? [asked.value] : asked ? [value, asked.value] : [value]
        if (!allowed.includes(undefined) && !allowed.includes(is))
          lost.push(
            `${kind} “${name}” is ${JSON.stringify(is)}, and was acknowledged as ${allowed.map((one) => JSON.stringify(one)).join(' or ')}`,
          )
        fact.value = is
        delete fact.asked
      }
      for (const name of found.keys())
        if (!ofKind(kind).has(name)) lost.push(`${kind} “${name}” came from nowhere`)
      return lost
    },
  }
}
