import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Problem } from '@sotto/provisioning/problem.ts'
import * as fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { jsonText, mutated } from '#engines/json.fixture.ts'
import { ollamaHost, readConfig } from './config.ts'

const state = mkdtempSync(join(tmpdir(), 'sotto-config-'))
afterAll(() => rmSync(state, { recursive: true }))

function read(text: string) {
  writeFileSync(join(state, 'config.yaml'), text)
  try {
    return readConfig({ state }).file
  } catch (error) {
    // No stack for who made a slip of the hand.
    expect(error).toBeInstanceOf(Problem)
    expect(error).toMatchObject({ message: expect.stringContaining('config.yaml') })
    return undefined
  }
}

const url = fc.constantFrom('http://10.0.0.5:11434', 'https://box.example/', 'tcp://10.0.0.5:1')
const long = fc.stringMatching(/^\d{90,120}s$/)
const right = fc.record(
  {
    backends: fc.array(fc.record({ name: fc.constant('big'), url }), { minLength: 1, maxLength: 2 }),
    aliases: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
    limits: fc.record({ keepAlive: fc.oneof(fc.nat(), long, fc.constantFrom('5m', '1 h', 'm')) }),
    whisper: url,
    services: fc.array(
      fc.record({
        name: fc.constant('s'),
        upstream: url,
        paths: fc.constant(['/x']),
        timeout: fc.oneof(long, fc.nat()),
      }),
      { maxLength: 1 },
    ),
    tunnel: fc.record({
      listen: fc.oneof(fc.string(), fc.constant('0.0.0.0:8444')),
      names: fc.constant(['a']),
    }),
    origins: fc.array(fc.oneof(fc.webUrl(), fc.string()), { maxLength: 2 }),
    auditDays: fc.integer(),
  },
  { requiredKeys: [] },
)

it('any file is a config, or a problem that names the file and the field', () => {
  const yaml = fc.oneof(
    mutated(right).map((object) => JSON.stringify(object)),
    jsonText,
    fc.string({ unit: 'binary' }),
    fc
      .array(fc.constantFrom('a', ':', ' ', '\n', '- ', '&x ', '*x', '{', '}', '[', '<<', '|'))
      .map((all) => all.join('')),
  )
  fc.assert(
    fc.property(yaml, (text) => {
      const config = read(text)
      if (config) expect(config.auditDays).toBeGreaterThan(0)
      expect(Object.keys(Object.prototype)).toEqual([])
    }),
    { numRuns: 400 },
  )
})

it('a file that would be gigabytes, or has no end, is a problem', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]']
  for (let at = 1; at < 12; at += 1) {
    const [before, here] = [at - 1, at].map((index) => String.fromCodePoint(97 + index))
    bomb.push(`${here}: &${here} [${Array(10).fill(`*${before}`).join()}]`)
  }
  for (const text of [
    bomb.join('\n'),
    'aliases: &a {a: *a}',
    '['.repeat(20_000),
    `limits: {keepAlive: ${'1'.repeat(200)}s}`,
  ])
    expect(read(text)).toBeUndefined()
})

it('OLLAMA_HOST is read to an address, whatever it is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(ollamaHost(text) ?? 'http://').toMatch(/^https?:\/\//)
    }),
  )
})
