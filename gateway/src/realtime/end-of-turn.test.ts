import { describe, expect, it } from 'vitest'
import { soundsWhole } from './end-of-turn.ts'

describe('what somebody said', () => {
  for (const whole of [
    'How far away is the moon?',
    'Turn it on.',
    'Wie weit ist der Mond?',
    '月は遠いですか。',
    'He said “stop!”',
  ])
    it(`“${whole}” sounds whole`, () => expect(soundsWhole(whole)).toBe(true))
  for (const open of [
    'How far is the',
    'I would like to',
    'Well,',
    'Turn it off and.',
    'Ich möchte wissen, ob…',
    'My number is 555 -',
    '',
    'And then um.',
  ])
    it(`“${open}” sounds as if more came (OpenVoiceUI 79)`, () => expect(soundsWhole(open)).toBe(false))

  it('is judged by its end, however long it is (it was searched for hours)', () => {
    expect(soundsWhole(`${'1'.repeat(100_000)} a b`)).toBe(false)
    expect(soundsWhole(`${'1 '.repeat(100_000)}, that is all.`)).toBe(true)
  })
})
