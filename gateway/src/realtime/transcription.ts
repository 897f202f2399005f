/** From a committed recording to words: one at a time, in the order in which they were spoken. */
import type { Logger } from 'pino'
import type { Engines } from '#engines/engine.ts'
import type { Item, ServerEventBody } from '#protocol/events.ts'
import { inputSampleRate } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'
import type { Conversation } from './conversation.ts'
import { newId } from './id.ts'

export interface TranscriptionDeps {
  readonly conversation: Conversation
  readonly engines: Engines
  readonly log: Pick<Logger, 'error'>
  send(event: ServerEventBody): void
  /** Ends with the session. */
  readonly signal: AbortSignal
}

export interface Transcription {
  /** Whether as many recordings wait for their words as may. */
  readonly full: boolean
  /** Adds the recording to the conversation and sends its words when they are known. */
  begin(samples: Int16Array): void
  /** Resolves when every recording so far has its words, or has failed. */
  settled(): Promise<void>
}

/** Recordings of up to 3.8 MB each, while Whisper serves one after another. */
const maxWaiting = 4

export function createTranscription(deps: TranscriptionDeps): Transcription {
  let turn: Promise<void> = Promise.resolve()
  let waiting = 0
  return {
    get full() {
      return waiting >= maxWaiting
    },
    begin(samples) {
      const item: Item = spoken(newId('item'), null, 'in_progress')
      const before = deps.conversation.add(item)
      deps.send({ type: 'input_audio_buffer.committed', item_id: item.id, previous_item_id: before })
      deps.send({ type: 'conversation.item.added', item, previous_item_id: before })
      waiting += 1
      turn = turn
        .then(() => transcribe(deps, item.id, before, samples))
        .finally(() => {
          waiting -= 1
        })
    },
    settled: () => turn,
  }
}

async function transcribe(
  deps: TranscriptionDeps,
  id: string,
  before: string | null,
  samples: Int16Array,
): Promise<void> {
  const { conversation, engines, log, send, signal } = deps
  try {
    const transcript = await engines.transcriber.transcribe(samples, signal)
    const item = spoken(id, transcript, 'completed')
    conversation.replace(item)
    send({
      type: 'conversation.item.input_audio_transcription.completed',
      item_id: id,
      content_index: 0,
      transcript,
      usage: { type: 'duration', seconds: samples.length / inputSampleRate },
    })
    send({ type: 'conversation.item.done', item, previous_item_id: before })
  } catch (error) {
    if (signal.aborted) return
    log.error({ err: error }, 'a recording could not be transcribed')
    const failure =
      error instanceof Failure ? error : new Failure('internal', 'The recording could not be transcribed.')
    const item = spoken(id, null, 'incomplete')
    conversation.replace(item)
    send({
      type: 'conversation.item.input_audio_transcription.failed',
      item_id: id,
      content_index: 0,
      error: { code: failure.code, message: failure.message },
    })
    send({ type: 'conversation.item.done', item, previous_item_id: before })
  }
}

function spoken(id: string, transcript: string | null, status: Item['status']): Item {
  return { id, type: 'message', role: 'user', status, content: [{ type: 'input_audio', transcript }] }
}
