/** What a friend's gateway may say of what it shares, and how it may ask. */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { jsonText, jsonValue, mutated } from '#engines/json.fixture.ts'
import { parseJson } from '#engines/json.ts'
import { readRole, roles } from './protocol.ts'
import { shared } from './shared.ts'

const name = fc.stringMatching(/^[a-z][a-z0-9.:-]{0,20}$/)
const model = fc.record(
  {
    name,
    modified_at: fc.string(),
    size: fc.nat(),
    digest: fc.string(),
    details: fc.record({ family: fc.string(), format: fc.string() }),
  },
  { requiredKeys: ['name'] },
)
const details = fc.record({
  vision: fc.boolean(),
  thinking: fc.boolean(),
  contextTokens: fc.option(fc.nat()),
})
const list = fc.record({ models: fc.array(model, { maxLength: 4 }), details: fc.dictionary(name, details) })

it('what is right is taken as it is', () => {
  fc.assert(
    fc.property(list, (right) => {
      const text = JSON.stringify(right)
      expect(shared.parse(JSON.parse(text))).toEqual(JSON.parse(text))
    }),
    { numRuns: 300 },
  )
})

it('whatever else comes is refused, or names nothing that is another’s or that writes over a terminal', () => {
  const any = fc.oneof(
    jsonText,
    mutated(list).map((object) => JSON.stringify(object)),
    fc
      .tuple(mutated(model), jsonValue)
      .map(([one, more]) => JSON.stringify({ models: [one], details: more })),
    fc.string({ unit: 'binary' }).map((text) => JSON.stringify({ models: [{ name: text }], details: {} })),
  )
  fc.assert(
    fc.property(any, (text) => {
      const { success, data } = shared.safeParse(parseJson(text))
      expect(Object.keys(Object.prototype)).toEqual([])
      if (!success) return
      for (const { name: said } of data.models) expect(said).not.toMatch(/@|\p{Cc}/u)
      JSON.stringify(data)
    }),
    { numRuns: 1_000 },
  )
})

it('a role is one of two, whatever is asked for', () => {
  const any = fc.oneof(
    fc.string(),
    fc.constantFrom('__proto__', 'asks ', 'ANSWERS', ...roles),
    fc.constant(null),
  )
  fc.assert(
    fc.property(any, (text) => {
      expect([...roles, undefined]).toContain(readRole(text))
    }),
  )
})
