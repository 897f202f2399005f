/** Pictures: AUTOMATIC1111's web UI, or any OpenAI-compatible server. */
import { Pool } from 'undici'
import { z } from 'zod'
import { Failure } from '../failure.ts'
import { baseOf, postJson } from './post-json.ts'

export interface ImageWish {
  readonly prompt: string
  readonly negativePrompt: string
  readonly width: number
  readonly height: number
  readonly steps: number
  readonly guidance: number
  readonly sampler: string
  readonly seed: number
  readonly count: number
}

export interface MadeImages {
  /** Base64 PNG. */
  readonly images: readonly string[]
  readonly parameters: unknown
  readonly info: unknown
}

export interface Images {
  readonly kind: 'automatic1111' | 'openai'
  /** Throws a `Failure`; ends the work when `signal` is aborted. */
  make(wish: ImageWish, signal: AbortSignal): Promise<MadeImages>
  close(): Promise<void>
}

export interface ImagesConfig {
  readonly engine: 'automatic1111' | 'openai'
  readonly url: string
  readonly model?: string
}

/** A large picture on a small card. */
const pictureMs = 10 * 60_000

export function createImages({ engine, url, model }: ImagesConfig): Images {
  const base = baseOf(url)
  const pool = new Pool(new URL(url).origin, {
    connections: 8,
    headersTimeout: pictureMs,
    bodyTimeout: pictureMs,
  })
  const post = async (path: string, body: object, signal: AbortSignal): Promise<unknown> => {
    const answer = await postJson(pool, 'image engine', base + path, body, signal)
    return answer.body.json().catch((error: unknown) => {
      throw signal.aborted ? error : new Failure('bad_upstream', 'The image engine broke off.', error)
    })
  }
  const make = engine === 'openai' ? openAi(post, model) : automatic1111(post)
  return { kind: engine, make, close: () => pool.destroy() }
}

type Post = (path: string, body: object, signal: AbortSignal) => Promise<unknown>

const made = z.object({ images: z.array(z.string()), parameters: z.unknown(), info: z.unknown() })

/** Source: `modules/api` in AUTOMATIC1111/stable-diffusion-webui. Nothing but these fields is ever sent. */
function automatic1111(post: Post): Images['make'] {
  // It has one queue and an interrupt that stops whoever runs: so at most one of ours is there.
  let turn: Promise<unknown> = Promise.resolve()
  return (wish, signal) => {
    const body = {
      prompt: wish.prompt,
      negative_prompt: wish.negativePrompt,
      width: wish.width,
      height: wish.height,
      steps: wish.steps,
      cfg_scale: wish.guidance,
      sampler_name: wish.sampler,
      seed: wish.seed,
      batch_size: wish.count,
      send_images: true,
      save_images: false,
    }
    const done = turn.then(async () => {
      signal.throwIfAborted()
      // Closing the connection does not stop it.
      const interrupt = () => void post('/sdapi/v1/interrupt', {}, AbortSignal.timeout(5_000)).catch(() => {})
      signal.addEventListener('abort', interrupt, { once: true })
      try {
        const read = made.safeParse(await post('/sdapi/v1/txt2img', body, signal))
        if (!read.success)
          throw new Failure('bad_upstream', 'The image engine sent something that is no picture.')
        return read.data
      } finally {
        signal.removeEventListener('abort', interrupt)
      }
    })
    turn = done.catch(() => {})
    return done
  }
}

const openAiMade = z.object({ data: z.array(z.object({ b64_json: z.string() })) })

function openAi(post: Post, model: string | undefined): Images['make'] {
  return async (wish, signal) => {
    const body = {
      prompt: wish.prompt,
      n: wish.count,
      size: `${wish.width}x${wish.height}`,
      response_format: 'b64_json',
      ...(model !== undefined && { model }),
    }
    const read = openAiMade.safeParse(await post('/v1/images/generations', body, signal))
    if (!read.success)
      throw new Failure('bad_upstream', 'The image engine sent something that is no picture.')
    return { images: read.data.data.map(({ b64_json }) => b64_json), parameters: body, info: '' }
  }
}
