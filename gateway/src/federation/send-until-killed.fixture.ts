/** Sends to somebody who is away, and says each number once it is acknowledged, until it is killed. */
import { pino } from 'pino'
import { systemClock } from './clock.ts'
import { openOutbox } from './outbox.ts'
import { createPost } from './post.ts'

const [, , file = ''] = process.argv
const outbox = await openOutbox(file)
outbox.bind('bob', 'own', 'bob', Date.now())
const post = createPost({
  outbox,
  route: () => undefined,
  deliver: async () => {},
  clock: systemClock,
  log: pino({ level: 'silent' }),
})
// What it waits for keeps no process alive.
setInterval(() => {}, 1_000)
for (let number = 0; ; number += 1) {
  await post.send('bob', 'test', number)
  process.stdout.write(`${number}\n`)
}
