/** What happens in one's rooms, as server-sent events: one stream for all of them, which a page follows. */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Recorder } from '#ledger/record.ts'
import type { Who } from '#rooms/room.ts'
import type { Rooms } from '#rooms/rooms.ts'
import { Failure } from '../failure.ts'
import { ownDialect } from './envelope.ts'
import { corsOf, type Call, type Route } from './route.ts'

export interface RoomDeps {
  readonly rooms: Rooms
  readonly recorder: Pick<Recorder, 'opened'>
}

/** A page on which nothing comes for twice as long comes again. */
const beatMs = 20_000
/** Who reads more slowly comes again, and is told what it missed. */
const mostWaitingBytes = 1_048_576
/** Pages that one person has open. */
const mostStreams = 12

export function roomEvents({ rooms, recorder }: RoomDeps, whoOf: (call: Call) => Who): Route {
  const open = new Map<string, number>()
  return {
    group: 'member',
    dialect: ownDialect,
    method: 'GET',
    path: '/sotto/rooms/events',
    summary:
      'What happens in one’s rooms, as server-sent events; with Last-Event-ID or ?since=ID what was missed comes first',
    quiet: true,
    async handle(call) {
      const { c, outgoing } = call
      const who = whoOf(call)
      // A browser sends the header only where it comes again by itself.
      const said = c.req.header('last-event-id') ?? c.req.query('since')
      const since = said === undefined ? undefined : Number(said)
      if (since !== undefined && !Number.isSafeInteger(since))
        throw new Failure('invalid', 'Last-Event-ID: send the id of an event.')
      const streams = open.get(who.id) ?? 0
      if (streams >= mostStreams)
        throw new Failure(
          'rate_limited',
          `${mostStreams} pages follow your rooms, as many as may.`,
          undefined,
          {
            retryAfter: 30,
          },
        )
      open.set(who.id, streams + 1)
      outgoing.writeHead(200, {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        'x-request-id': call.record.id,
        ...corsOf(outgoing),
      })
      // A browser comes again this soon, ms.
      outgoing.write('retry: 2000\n\n')
      await new Promise<void>((settle) => {
        const leave = rooms.follow(
          who,
          (event, revision) => {
            const id = revision === undefined ? '' : `id: ${revision}\n`
            outgoing.write(`${id}data: ${JSON.stringify(event)}\n\n`)
            if (outgoing.writableLength > mostWaitingBytes) outgoing.destroy()
          },
          since,
        )
        const beat = setInterval(() => outgoing.write('event: beat\ndata:\n\n'), beatMs).unref()
        const forget = recorder.opened({ caller: call.caller, end: () => outgoing.destroy() })
        outgoing.once('close', () => {
          clearInterval(beat)
          leave()
          forget()
          const left = (open.get(who.id) ?? 1) - 1
          if (left === 0) open.delete(who.id)
          else open.set(who.id, left)
          settle()
        })
      })
      return RESPONSE_ALREADY_SENT
    },
  }
}
