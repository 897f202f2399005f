/** The embedded engine, seen from the gateway: a process that starts when it is first needed, and again. */
import { fork, type ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { ReadableStream } from 'node:stream/web'
import { Failure } from '../failure.ts'
import type { Model } from './models.ts'
import type { SherpaConfig, SherpaReply, SherpaRequest, SherpaWish } from './sherpa-protocol.ts'

export interface Sherpa {
  /**
   * What comes back, until it is done. Throws a `Failure`. When `signal` is aborted it fails at once and a voice
   * ends after its sentence; what is being heard is heard to its end, for sherpa-onnx can't be stopped in it.
   */
  ask(wish: SherpaWish, signal: AbortSignal): AsyncIterable<SherpaReply>
  close(): Promise<void>
}

/** More than four make Whisper no faster. */
const maxThreads = 4
/** Of what it wrote before it ended: the last lines say why. */
const maxSaid = 4_096

/** @param program what runs in the process */
export function createSherpa(
  { name, parts, multilingual = false }: Model,
  folder: string,
  program = new URL('./sherpa-child.ts', import.meta.url),
): Sherpa {
  const config: SherpaConfig = {
    folder,
    parts,
    multilingual,
    threads: Math.min(maxThreads, availableParallelism()),
  }
  const asked = new Map<number, Waiting>()
  let lastId = 0
  let child: ChildProcess | undefined
  const start = (): ChildProcess => {
    const made = fork(program, [], {
      execArgv: [],
      // Samples go as they are.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    let said = ''
    let loaded = false
    made.stderr?.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-maxSaid)
    })
    made.on('message', (reply: SherpaReply) => {
      loaded = true
      take(asked, reply)
    })
    const ended = (): void => {
      if (child === made) child = undefined
      const why = loaded
        ? 'The embedded speech engine ended. It starts again when it is next needed.'
        : `The embedded speech engine can’t load its model. Delete models/${name} in the state directory: it is fetched anew.`
      for (const waiting of asked.values()) waiting.fail(new Failure('unavailable', why, said))
      asked.clear()
    }
    made.once('error', ended)
    made.once('exit', ended)
    made.unref()
    made.channel?.unref()
    made.send({ id: 0, type: 'open', config } satisfies SherpaRequest, () => {})
    return made
  }
  return {
    ask(wish, signal) {
      const id = (lastId += 1)
      const leave = (): void => {
        signal.removeEventListener('abort', stop)
        if (asked.delete(id)) child?.send({ id, type: 'stop' } satisfies SherpaRequest, () => {})
      }
      const stop = (): void => {
        asked.get(id)?.fail(signal.reason)
        leave()
      }
      return new ReadableStream<SherpaReply>({
        start(controller) {
          const forget = (): void => signal.removeEventListener('abort', stop)
          asked.set(id, {
            give: (reply) => controller.enqueue(reply),
            end() {
              forget()
              controller.close()
            },
            fail(why) {
              forget()
              controller.error(why)
            },
          })
          if (signal.aborted) return stop()
          signal.addEventListener('abort', stop, { once: true })
          child ??= start()
          child.send({ id, ...wish } satisfies SherpaRequest, () => {})
        },
        cancel: leave,
      })
    },
    async close() {
      const ending = child
      child = undefined
      if (!ending || ending.exitCode !== null) return
      const gone = new Promise((settle) => ending.once('exit', settle))
      ending.kill('SIGKILL')
      await gone
    },
  }
}

interface Waiting {
  give(reply: SherpaReply): void
  end(): void
  fail(why: unknown): void
}

function take(asked: Map<number, Waiting>, reply: SherpaReply): void {
  const waiting = asked.get(reply.id)
  if (!waiting) return
  if (reply.type === 'text' || reply.type === 'sound') return waiting.give(reply)
  asked.delete(reply.id)
  if (reply.type === 'done') return waiting.end()
  const problem = `The embedded speech engine can’t use its model: ${reply.message}`
  waiting.fail(new Failure('unavailable', problem, reply.detail))
}
