/** What one lender has, as engines of their own: for those who ask for it by its name. */
import { Failure } from '../failure.ts'
import type { Backend } from './backend.ts'
import type { EngineView, Lender, Transcriber } from './engine.ts'
import { createModelPool } from './pool.ts'
import { whisperSeeker, type WhisperSeeker } from './whisper-seeker.ts'
import { findWhisper } from './whisper.ts'

export interface LentEngines {
  readonly engines: EngineView
  /** Whoever made this puts its backend here. */
  readonly backends: Backend[]
  readonly whisper: WhisperSeeker
}

export function createLent({ name, whisper: offered, upstream }: Lender): LentEngines {
  const backends: Backend[] = []
  const pool = createModelPool(backends)
  const whisper = whisperSeeker(
    {
      async find(signal) {
        if (offered === undefined) throw new Failure('unavailable', 'No Whisper is lent.')
        return { ...(await findWhisper(offered, signal, upstream)), lender: name }
      },
      async close() {},
    },
    'Start it on the lender’s machine.',
  )
  return {
    backends,
    whisper,
    engines: {
      pool,
      get transcriber() {
        return whisper.now.state.kind === 'demo' ? nobodyHears : whisper.now.engine
      },
      get states() {
        const models = pool.models.map((model) => model.name)
        // Never the demo: what was asked for by name is there, or it is not.
        const chat = { kind: 'ollama', ready: models.length > 0, models } as const
        return { chat, transcription: whisper.now.state }
      },
    },
  }
}

const unheard = () => Promise.reject(new Failure('unavailable', 'No Whisper answers on this machine.'))
const nobodyHears: Transcriber = { kind: 'demo', transcribe: unheard, transcribeFile: unheard }
