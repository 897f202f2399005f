import { describe, expect, it } from 'vitest'
import { createPlayback } from './playback.ts'

describe('the playback', () => {
  it('reports each quarter of a second how much of an answer was played, and its end', () => {
    const { playback, reports } = start()
    playback.announce(7, 'answer', 0)
    expect(playback.active).toBe(false)
    expect(playback.take(7, 24_000)).toBe(true)
    for (let at = 50; at < 1_000; at += 50)
      playback.progress({ stream: 7, played: at * 24, over: false }, 1_000 + at)
    expect(playback.active).toBe(true)
    expect(playback.waiting).toBe(50 * 24)
    expect(playback.end('answer')).toEqual([7])
    playback.progress({ stream: 7, played: 24_000, over: true }, 2_000)
    expect(reports).toEqual([50, 300, 550, 800, 1_000].map((played) => ['answer', played]))
    expect(playback.active).toBe(false)
  })

  it('takes nothing more of an answer that was stopped, and says where', () => {
    const { playback, reports } = start()
    playback.announce(1, 'stopped', 0)
    playback.announce(2, 'other', 1)
    playback.take(1, 24_000)
    playback.take(2, 2_400)
    playback.progress({ stream: 1, played: 12_000, over: false }, 1_000)
    expect(playback.stop('stopped')).toEqual({
      streams: [1],
      cuts: [{ itemId: 'stopped', contentIndex: 0, playedMs: 500 }],
    })
    expect(playback.take(1, 24_000)).toBe(false)
    expect(playback.end('stopped')).toEqual([])
    playback.progress({ stream: 1, played: 12_100, over: true }, 1_010)
    expect(reports).toEqual([['stopped', 500]])
    expect(playback.waiting).toBe(2_400)
    expect(playback.stop().cuts).toEqual([{ itemId: 'other', contentIndex: 1, playedMs: 0 }])
  })

  it('does not wait for the sound of an answer that had none, and takes none that was not announced', () => {
    const { playback } = start()
    playback.announce(1, 'mute', 0)
    expect(playback.end('mute')).toEqual([])
    expect(playback.active).toBe(false)
    expect(playback.take(9, 100)).toBe(false)
  })

  it('has the words that were heard before those that come, a sentence at a time', () => {
    const { playback } = start()
    playback.announce(1, 'answer', 0)
    playback.caption('answer', 'It is sunny and warm.')
    expect(playback.captioned).toEqual({ itemId: 'answer', said: '', coming: 'It is sunny and warm.' })
    playback.take(1, 48_000)
    playback.caption('answer', ' Take a hat.')
    playback.take(1, 24_000)
    playback.progress({ stream: 1, played: 24_000, over: false }, 1_000)
    expect(playback.captioned).toEqual({ itemId: 'answer', said: 'It is sunny', coming: ' and warm.' })
    playback.progress({ stream: 1, played: 48_000, over: false }, 2_000)
    expect(playback.captioned).toEqual({
      itemId: 'answer',
      said: 'It is sunny and warm.',
      coming: ' Take a hat.',
    })
    playback.end('answer')
    // Written after the last sound, as what the voice leaves out.
    playback.caption('answer', ' :)')
    playback.progress({ stream: 1, played: 72_000, over: true }, 3_000)
    expect(playback.captioned).toEqual({
      itemId: 'answer',
      said: 'It is sunny and warm. Take a hat. :)',
      coming: '',
    })
  })

  it('keeps to the words that were heard of an answer that was stopped', () => {
    const { playback } = start()
    playback.announce(1, 'answer', 0)
    playback.caption('answer', 'one two three four')
    playback.take(1, 96_000)
    playback.progress({ stream: 1, played: 48_000, over: false }, 1_000)
    playback.stop()
    expect(playback.captioned).toEqual({ itemId: 'answer', said: 'one two', coming: '' })
    playback.announce(2, 'next', 0)
    expect(playback.captioned).toEqual({ itemId: 'next', said: '', coming: '' })
  })
})

function start() {
  const reports: [string, number][] = []
  return { playback: createPlayback((...report) => reports.push(report)), reports }
}
