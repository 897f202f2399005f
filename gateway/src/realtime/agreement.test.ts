import { describe, expect, it } from 'vitest'
import { createAgreement } from './agreement.ts'

describe('words of a recording that goes on', () => {
  it('are said when two transcripts in a row have them, and only once', () => {
    const heard = createAgreement()
    expect(heard.hear('how far')).toEqual({ delta: '', tail: 'how far' })
    expect(heard.hear('how far away')).toEqual({ delta: 'how far', tail: 'away' })
    expect(heard.hear('how far away is the')).toEqual({ delta: ' away', tail: 'is the' })
    expect(heard.hear('how far away is the moon')).toEqual({ delta: ' is the', tail: 'moon' })
    expect(heard.agreed).toBe('how far away is the')
  })

  it('are never taken back, whatever a later transcript says', () => {
    const heard = createAgreement()
    for (const transcript of ['turn on', 'turn on the', 'turn on the lights']) heard.hear(transcript)
    expect(heard.agreed).toBe('turn on the')
    expect(heard.hear('burn down the lights')).toEqual({ delta: '', tail: '' })
    expect(heard.hear('')).toEqual({ delta: '', tail: '' })
    expect(heard.agreed).toBe('turn on the')
    heard.hear('turn on the lights please')
    expect(heard.hear('turn on the lights please now')).toEqual({ delta: ' lights please', tail: 'now' })
  })

  it('are the same with other commas and capitals', () => {
    const heard = createAgreement()
    heard.hear('Well, it is')
    expect(heard.hear('well it is far.')).toEqual({ delta: 'well it is', tail: 'far.' })
  })

  it('do not repeat what Whisper repeats (whisper_streaming #102)', () => {
    const heard = createAgreement()
    heard.hear('thank you')
    heard.hear('thank you thank you')
    expect(heard.agreed).toBe('thank you')
  })
})
