import { describe, expect, it } from 'vitest'
import { createSentences } from './sentences.ts'

function all(pieces: readonly string[]): string[] {
  const sentences = createSentences('en')
  return [...pieces.flatMap((piece) => sentences.push(piece)), ...sentences.end()]
}

const answer =
  'Well, as far as I know, the moon is 384,400 km away. That is 30 Earths in a row. Dr. Smith says 3.5 days by rocket! Is that far?'

describe('an answer', () => {
  it('begins with a clause, and goes on in sentences', () => {
    expect(all([answer])).toEqual([
      'Well, as far as I know,',
      'the moon is 384,400 km away.',
      'That is 30 Earths in a row.',
      'Dr. Smith says 3.5 days by rocket!',
      'Is that far?',
    ])
  })

  it('is the same, however it comes: whole, by words, by letters', () => {
    const whole = all([answer])
    expect(all(answer.split(/(?<= )/))).toEqual(whole)
    expect(all(answer.split(''))).toEqual(whole)
  })

  it('loses no sentence where many come in one piece (open-webui 26322)', () => {
    const many = Array.from({ length: 40 }, (_, at) => `This is the sentence ${at}.`)
    const sentences = createSentences('en')
    expect([...sentences.push(`${many.join(' ')} `), ...sentences.end()]).toEqual(many)
  })

  it('is said as soon as its first clause is there', () => {
    const sentences = createSentences('en')
    expect(sentences.push('As far as I')).toEqual([])
    expect(sentences.push(' know, ')).toEqual(['As far as I know,'])
    expect(sentences.push('the moon is far.')).toEqual([])
    expect(sentences.push(' And')).toEqual(['the moon is far.'])
  })

  it('has nothing that can’t be said, and no piece too long for an engine', () => {
    expect(all(['...', '\n\n', ' – ', '?!'])).toEqual([])
    const long = Array.from({ length: 400 }, (_, at) => `word${at}`).join(' ')
    const pieces = all([long])
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(480)
    expect(pieces.join(' ')).toBe(long)
  })

  it('is cut by the rules of its language', () => {
    const sentences = createSentences('ja')
    expect([...sentences.push('月はとても遠いです。ロケットで三日かかります。'), ...sentences.end()]).toEqual(
      ['月はとても遠いです。', 'ロケットで三日かかります。'],
    )
  })
})
