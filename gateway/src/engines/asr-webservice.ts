/** Speech to text by whisper-asr-webservice. Source: `app/webservice.py` in ahmetoner/whisper-asr-webservice. */
import type { Dispatcher } from 'undici'
import { Failure } from '../failure.ts'
import { bytesOf } from './pcm.ts'
import { ask, postOwn, postRecording } from './post-recording.ts'
import { wordsIn } from './transcript.ts'
import type { Whisper } from './whisper.ts'

/** As OpenAI names them, with its own names. Its JSON is another than OpenAI’s `verbose_json`. */
const outputs: Readonly<Record<string, { readonly output: string; readonly contentType: string }>> = {
  json: { output: 'json', contentType: 'application/json' },
  text: { output: 'txt', contentType: 'text/plain; charset=utf-8' },
  srt: { output: 'srt', contentType: 'application/x-subrip' },
  vtt: { output: 'vtt', contentType: 'text/vtt' },
}

export function asrWebservice(pool: Dispatcher, base: string): Whisper {
  /** It answers nobody else while it transcribes. */
  let busy = 0
  const whileBusy = async <T>(work: Promise<T>): Promise<T> => {
    busy += 1
    return work.finally(() => {
      busy -= 1
    })
  }
  return {
    kind: 'asr-webservice',
    models: [],
    async transcribe(samples, signal, { language, prompt } = {}) {
      // Raw samples, which it need not start ffmpeg for.
      const path = pathOf(base, { encode: 'false', output: 'json', language, initial_prompt: prompt })
      const form = { audio_file: new Blob([new Uint8Array(bytesOf(samples))]) }
      return wordsIn(await whileBusy(postOwn(pool, path, form, signal)))
    },
    async transcribeFile(file, { format = 'json', language, prompt, translate }, signal) {
      const known = outputs[format]
      if (!known)
        throw new Failure('invalid', 'response_format: this speech-to-text makes json, text, srt or vtt.')
      const path = pathOf(base, {
        encode: 'true',
        output: known.output,
        task: translate ? 'translate' : 'transcribe',
        language,
        initial_prompt: prompt,
      })
      const { text } = await whileBusy(postRecording(pool, path, { audio_file: file }, signal))
      return { contentType: known.contentType, text }
    },
    async probe(signal) {
      if (busy === 0) await ask(pool, 'POST', `${base}/asr`, signal)
    },
    close: () => pool.close(),
  }
}

function pathOf(base: string, query: Readonly<Record<string, string | undefined>>): string {
  const given = new URLSearchParams({ task: 'transcribe' })
  for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, value)
  return `${base}/asr?${given.toString()}`
}
