/** What programs of others say of a machine's hardware: whatever it is, what is told of it is what a gateway takes. */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { jsonText } from '#engines/json.fixture.ts'
import { parseApple, parseNvidia, parseRocm } from './hardware.ts'
import { hardware } from './offer.ts'

const said = fc.oneof(
  fc.string({ unit: 'binary' }),
  jsonText,
  fc
    .array(fc.tuple(fc.string(), fc.oneof(fc.integer(), fc.constant('[N/A]'), fc.constant('9'.repeat(400)))))
    .map((all) => all.map(([name, memory]) => `${name}, ${memory}`).join('\n')),
  fc
    .dictionary(
      fc.constantFrom('card0', 'card1', 'system', '__proto__'),
      fc.dictionary(
        fc.constantFrom('Card Series', 'card series', 'Device Name', 'VRAM Total Memory (B)'),
        fc.oneof(fc.string(), fc.integer().map(String), fc.constant('1e999')),
      ),
    )
    .map((cards) => JSON.stringify(cards)),
  fc
    .array(fc.record({ sppci_model: fc.oneof(fc.string({ maxLength: 400 }), fc.constant(null)) }))
    .map((all) => JSON.stringify({ SPDisplaysDataType: all })),
)

it('is none, or hardware', () => {
  fc.assert(
    fc.property(said, (text) => {
      for (const parse of [parseNvidia, parseRocm, parseApple]) {
        const gpus = parse(text).slice(0, 32)
        const told = { system: 'Linux', cpu: { model: 'x', cores: 2 }, memoryBytes: 1, gpus }
        expect(hardware.parse(JSON.parse(JSON.stringify(told)))).toEqual(told)
      }
    }),
    { numRuns: 1_000 },
  )
})
