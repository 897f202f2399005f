/** What the rows of a batch come to: many are of the same caller, model and day. */
import { windowsAt } from '#admission/window.ts'
import { auditColumns, type Row } from './columns.ts'

export interface Sums {
  readonly usage: readonly {
    /** Day, tenant, person, device, key, model and service, in this order. */
    readonly names: readonly string[]
    readonly requests: number
    readonly input: number
    readonly output: number
  }[]
  readonly uses: readonly {
    readonly key: string
    readonly address: string
    readonly first: number
    readonly last: number
    readonly requests: number
  }[]
}

export function sumsOf(rows: readonly Row[]): Sums {
  const usage = new Map<string, Mutable<Sums['usage'][number]>>()
  const uses = new Map<string, Mutable<Sums['uses'][number]>>()
  for (const row of rows) {
    const at = Number(atOf(row))
    if (keyOf(row) !== null) {
      const name = `${keyOf(row)} ${addressOf(row)}`
      const [key, address] = [String(keyOf(row)), String(addressOf(row))]
      const use = uses.get(name) ?? { key, address, first: at, last: at, requests: 0 }
      use.last = at
      use.requests += 1
      uses.set(name, use)
    }
    const [input, output] = [Number(inputOf(row)), Number(outputOf(row))]
    // What was refused took nothing; what its client left may have.
    if (serviceOf(row) === null || (Number(statusOf(row)) >= 400 && input + output === 0)) continue
    const names = [
      windowsAt(at).tokensPerDay.slice('day:'.length),
      ...namesOf.map((of) => String(of(row) ?? '')),
    ]
    const name = names.join('\n')
    const sum = usage.get(name) ?? { names, requests: 0, input: 0, output: 0 }
    sum.requests += 1
    sum.input += input
    sum.output += output
    usage.set(name, sum)
  }
  return { usage: [...usage.values()], uses: [...uses.values()] }
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

type Column = (typeof auditColumns)[number]
/** What reads a column of the audit from a row. */
const reader = (column: Column): ((row: Row) => Row[number]) => {
  const at = auditColumns.indexOf(column)
  return (row) => row[at] ?? null
}
const atOf = reader('at')
const keyOf = reader('key_id')
const addressOf = reader('address')
const serviceOf = reader('service')
const statusOf = reader('status')
const inputOf = reader('input_tokens')
const outputOf = reader('output_tokens')
const namesOf = (['tenant', 'person', 'device', 'key', 'model', 'service'] as const).map(reader)
