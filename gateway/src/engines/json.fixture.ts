/** JSON as nobody would write it who means well: for properties of what reads it. */
import * as fc from 'fast-check'

/** Keys that reach the prototype where one is not careful. */
const keys = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString'),
)

/** The text of one JSON value. */
export const jsonText: fc.Arbitrary<string> = fc.letrec<{ any: string }>((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(
      fc.constantFrom('null', 'true', '1e400', '-0', '9007199254740993', '""'),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
      fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
    ),
    fc.array(tie('any'), { maxLength: 4 }).map((all) => `[${all.join()}]`),
    fc
      .array(fc.tuple(keys, tie('any')), { maxLength: 4 })
      .map((all) => `{${all.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join()}}`),
  ),
})).any

export const jsonValue: fc.Arbitrary<unknown> = jsonText.map((text) => JSON.parse(text))

/** So deep that what walks it has no stack left. */
export const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`

/** An object that is right but for what one of its fields holds, or with one more. */
export function mutated<T extends object>(right: fc.Arbitrary<T>): fc.Arbitrary<object> {
  return fc.tuple(right, fc.nat(), keys, jsonValue, fc.boolean()).map(([object, at, key, value, more]) => {
    const known = Object.keys(object)
    const place = more ? key : (known[at % known.length] ?? key)
    return JSON.parse(JSON.stringify({ ...object, [place]: value })) as object
  })
}

/** The bytes of something in pieces as a network may cut it, empty ones among them. */
export function pieces(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Buffer[]> {
  return fc.tuple(bytes, fc.array(fc.nat(), { maxLength: 8 })).map(([whole, cuts]) => {
    const ends = [...cuts.map((cut) => cut % (whole.length + 1)), whole.length].toSorted((a, b) => a - b)
    return ends.map((end, at) => Buffer.from(whole.subarray(ends[at - 1] ?? 0, end)))
  })
}
