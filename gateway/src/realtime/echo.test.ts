import { expect, it } from 'vitest'
import { isEcho } from './echo.ts'

const saying = 'The moon is 384,400 kilometres away, and a rocket takes three days.'
it('knows its own voice, with a word misheard', () => {
  expect(isEcho('moon is 384,400 kilometers away', saying)).toBe(true)
  expect(isEcho('', saying)).toBe(true)
})
it('hears who says something else', () => {
  expect(isEcho('stop please', saying)).toBe(false)
  expect(isEcho('how far is the sun then', saying)).toBe(false)
})
