/** Speech, transcripts and pictures: OpenAI's paths for them, and those of the seed API. */
import { pipeline } from 'node:stream/promises'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { z } from 'zod'
import type { TranscriptionWish } from '#engines/engine.ts'
import type { Images, ImageWish } from '#engines/images.ts'
import type { Speech } from '#engines/speech.ts'
import { queuesAs } from '#identity/caller.ts'
import type { VoiceList } from '#protocol/events.ts'
import { Failure } from '../failure.ts'
import { readJson } from './body.ts'
import { ollamaDialect, openAiDialect } from './envelope.ts'
import { readForm } from './form.ts'
import type { ApiDeps } from './inference.ts'
import type { Call, Route } from './route.ts'
import { whileOpen } from './while-open.ts'

export interface MediaDeps extends ApiDeps {
  readonly speech: Speech | undefined
  readonly images: Images | undefined
}

/** As OpenAI has it. */
const maxSpeechCharacters = 4_096

const speechBody = z.object({
  model: z.string().max(256).optional(),
  input: z.string().min(1).max(maxSpeechCharacters),
  voice: z
    .union([z.string().max(64), z.looseObject({ id: z.string() }).transform(({ id }) => id)])
    .optional(),
  response_format: z.enum(['mp3', 'opus', 'aac', 'flac', 'wav', 'pcm']).optional(),
  speed: z.number().min(0.25).max(4).default(1),
})
const speakBody = z.object({
  text: z.string().min(1).max(maxSpeechCharacters),
  voice: z.string().max(64).optional(),
  speed: z.number().min(0.25).max(4).default(1),
})
const side = z.int().min(64).max(2_048)
const imageBody = z.object({
  prompt: z.string().min(1).max(10_000),
  negative_prompt: z.string().max(10_000).default(''),
  width: side.default(512),
  height: side.default(512),
  steps: z.int().min(1).max(150).default(20),
  cfg_scale: z.number().min(0).max(30).default(7),
  sampler: z.string().max(64).default('Euler a'),
  seed: z.int().default(-1),
})
const openAiImageBody = z.object({
  prompt: z.string().min(1).max(10_000),
  model: z.string().optional(),
  n: z.int().min(1).max(4).default(1),
  size: z
    .string()
    .regex(/^\d{2,4}x\d{2,4}$/, 'is written as 512x512')
    .default('512x512'),
  response_format: z.literal('b64_json', 'is b64_json here: pictures come in the answer').default('b64_json'),
})

export function mediaRoutes(deps: MediaDeps): Route[] {
  const openAi = { group: 'member', dialect: openAiDialect, method: 'POST' } as const
  const seed = { group: 'member', dialect: ollamaDialect, method: 'POST' } as const
  return [
    {
      ...openAi,
      path: '/v1/audio/speech',
      summary: 'Text to speech',
      body: speechBody,
      async handle(call) {
        const {
          input,
          voice,
          speed,
          response_format: format,
        } = read(speechBody, await readJson(call.incoming))
        return speak(call, deps, { text: input, voice, speed, format })
      },
    },
    {
      ...openAi,
      method: 'GET',
      path: '/v1/audio/voices',
      summary: 'The voices that speak',
      quiet: true,
      async handle({ c }) {
        const list: VoiceList = { voices: (await deps.speech?.voices()) ?? [] }
        return c.json(list)
      },
    },
    {
      ...seed,
      path: '/tts/api/speak',
      summary: 'Text to speech',
      body: speakBody,
      async handle(call) {
        const { text, voice, speed } = read(speakBody, await readJson(call.incoming))
        return speak(call, deps, { text, voice, speed, format: undefined })
      },
    },
    ...transcriptionRoutes(deps),
    {
      ...openAi,
      path: '/v1/images/generations',
      summary: 'Pictures',
      body: openAiImageBody,
      async handle(call) {
        const { prompt, n, size } = read(openAiImageBody, await readJson(call.incoming))
        const [width = 512, height = 512] = size.split('x').map(Number)
        const { images } = await draw(call, deps, { ...read(imageBody, { prompt, width, height }), count: n })
        return call.c.json({
          created: Math.floor(Date.now() / 1000),
          data: images.map((b64_json) => ({ b64_json })),
        })
      },
    },
    {
      ...seed,
      path: '/image/api/generate',
      summary: 'A picture',
      body: imageBody,
      async handle(call) {
        const made = await draw(call, deps, { ...read(imageBody, await readJson(call.incoming)), count: 1 })
        return call.c.json(made)
      },
    },
    {
      ...seed,
      path: '/image/api/generate/simple',
      summary: 'A picture, alone in its answer',
      body: imageBody,
      async handle(call) {
        const made = await draw(call, deps, { ...read(imageBody, await readJson(call.incoming)), count: 1 })
        return call.c.json({ image: made.images[0], parameters: made.parameters, info: made.info })
      },
    },
  ]
}

export function transcriptionRoutes(deps: ApiDeps): Route[] {
  const openAi = { group: 'member', dialect: openAiDialect, method: 'POST' } as const
  return [
    {
      ...openAi,
      path: '/v1/audio/transcriptions',
      summary: 'Speech to text; multipart/form-data with file',
      handle: (call) => transcribe(call, deps, false),
    },
    {
      ...openAi,
      path: '/v1/audio/translations',
      summary: 'Speech of any language to English text; multipart/form-data with file',
      handle: (call) => transcribe(call, deps, true),
    },
    {
      group: 'member',
      dialect: ollamaDialect,
      method: 'POST',
      path: '/whisper/api/transcribe',
      summary: 'Speech to text; multipart/form-data with file',
      handle: (call) => transcribe(call, deps, false),
    },
  ]
}

async function speak(
  call: Call,
  { speech, ...deps }: MediaDeps,
  wish: Parameters<Speech['speak']>[0],
): Promise<Response> {
  const { outgoing, record } = call
  record.service = 'speech'
  if (!speech)
    throw new Failure(
      'unavailable',
      'No speech engine is connected. On the gateway’s machine: sudo apt install espeak-ng',
    )
  await whileOpen(call, deps, 'speech', async (permit, left) => {
    const spoken = await speech.speak({ ...wish, ...queuing(call) }, left).catch((error: unknown) => {
      if (!left.aborted) throw error
    })
    if (!spoken) {
      record.ended = 'left'
      return
    }
    const { contentType, sound } = spoken
    record.backend = speech.kind
    record.firstByteAt = performance.now()
    outgoing.writeHead(200, {
      'content-type': contentType,
      'cache-control': 'no-store',
      'x-request-id': record.id,
      ...permit.headers,
    })
    await pipeline(sound, outgoing).catch(() => {
      record.ended = left.aborted ? 'left' : 'cut'
    })
  })
  return RESPONSE_ALREADY_SENT
}

async function transcribe(call: Call, deps: ApiDeps, translate: boolean): Promise<Response> {
  const { incoming, record } = call
  record.service = 'transcription'
  return whileOpen(call, deps, 'transcription', async (permit, left) => {
    const form = await readForm(incoming)
    const file = form.get('file') ?? form.get('audio')
    if (!(file instanceof File))
      throw new Failure('invalid', 'file: send the recording as multipart/form-data.')
    const wish = transcriptionWish(form, translate)
    // Whichever there is now: one may have come or gone during the upload.
    const { transcriber } = deps.engines
    record.backend = transcriber.lender ?? transcriber.kind
    const { contentType, text } = await transcriber.transcribeFile(file, { ...wish, ...queuing(call) }, left)
    record.firstByteAt = performance.now()
    return new Response(text, {
      headers: { 'content-type': contentType, 'x-request-id': record.id, ...permit.headers },
    })
    // Whatever of the upload is left.
  }).finally(() => incoming.resume())
}

/** Who waits, where an engine has others to serve. */
function queuing({ caller }: Call): { readonly tenant: string; readonly caller: string } {
  return { tenant: caller.tenant.id, caller: queuesAs(caller) }
}

function transcriptionWish(form: FormData, translate: boolean): TranscriptionWish {
  const field = (name: string, key: string): Record<string, string> => {
    const value = form.get(name)
    return typeof value === 'string' && value !== '' ? { [key]: value.slice(0, 4_096) } : {}
  }
  const wish: TranscriptionWish = {
    translate,
    ...field('language', 'language'),
    ...field('prompt', 'prompt'),
    ...field('temperature', 'temperature'),
    ...field('response_format', 'format'),
  }
  if (wish.format !== undefined && !/^(?:json|text|srt|verbose_json|vtt)$/.test(wish.format))
    throw new Failure('invalid', 'response_format: json, text, srt, verbose_json or vtt.')
  return wish
}

async function draw(
  call: Call,
  { images, ...deps }: MediaDeps,
  wish: z.infer<typeof imageBody> & { readonly count: number },
) {
  const { record } = call
  record.service = 'images'
  if (!images)
    throw new Failure(
      'unavailable',
      'No image engine is connected. The admin names one in the gateway’s config.yaml.',
    )
  return whileOpen(call, deps, 'images', (_permit, left) => {
    record.backend = images.kind
    const asked: ImageWish = {
      prompt: wish.prompt,
      negativePrompt: wish.negative_prompt,
      width: wish.width,
      height: wish.height,
      steps: wish.steps,
      guidance: wish.cfg_scale,
      sampler: wish.sampler,
      seed: wish.seed,
      count: wish.count,
    }
    return images.make(asked, left)
  })
}

/** Throws a `Failure` that names the field. */
function read<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new Failure('invalid', `${issue?.path.join('.') || 'The body'}: ${issue?.message}.`)
}
