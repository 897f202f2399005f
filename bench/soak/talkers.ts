/** People who talk, round after round: each round is a process of `bench/talk/talkers.ts`. */
import { join } from 'node:path'
import { execa, type ResultPromise } from 'execa'
import { seen, type Wish } from '../talk/seen.ts'

type Way = Pick<Wish, 'url' | 'ca' | 'recordings'>

/** More than the gateway listens to on its main thread. */
const sessions = 3
const turns = 5
/** By our own protocol and by OpenAI's; every other round of ours interrupts. */
const ways = ['ours', 'openai'] as const

/** @param count of what was said and answered */
export function startTalkers(
  way: Way,
  count: (kind: string, more: number) => void,
  fail: (error: string) => void,
) {
  const running = new Set<ResultPromise>()
  const stop = new AbortController()
  const round = async (protocol: (typeof ways)[number], number: number): Promise<void> => {
    const interrupts = protocol === 'ours' && number % 2 === 1
    const wish: Wish = { ...way, protocol, sessions, turns, silenceMs: 500, interrupts }
    const child = execa(
      process.execPath,
      [join(import.meta.dirname, '..', 'talk', 'talkers.ts'), JSON.stringify(wish)],
      { buffer: false, reject: false, stderr: 'inherit' },
    )
    running.add(child)
    let last = ''
    for await (const line of child.iterable()) last = line
    running.delete(child)
    if (stop.signal.aborted) return
    const { sessions: talked, delayP99 } = seen.parse(JSON.parse(last))
    for (const { failures } of talked) for (const failure of failures) fail(`voice, ${protocol}: ${failure}`)
    const answered = talked.flatMap(({ turns: said, sounds }) =>
      said.filter(({ ended }, at) =>
        sounds.some((sound) => sound.at > ended && sound.at < (said[at + 1]?.ended ?? Infinity)),
      ),
    ).length
    count(`turns of voice, ${protocol}${interrupts ? ', interrupting' : ''}`, answered)
    const missed = sessions * turns - answered
    // A machine that is busy with other things lets them speak too late.
    const own = `the talkers themselves were ${delayP99.toFixed(0)} ms late, p99`
    if (missed > 0) fail(`voice, ${protocol}: ${missed} of ${sessions * turns} turns had no answer; ${own}`)
  }
  const all = ways.map(async (protocol) => {
    for (let number = 0; !stop.signal.aborted; number += 1)
      await round(protocol, number).catch((error: unknown) => fail(`voice, ${protocol}: ${String(error)}`))
  })
  return {
    async stop() {
      stop.abort()
      for (const child of running) child.kill('SIGKILL')
      await Promise.all(all)
    },
  }
}
