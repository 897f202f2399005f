/**
 * The models that the embedded engine can fetch. Lengths and checksums are those that other projects have for
 * the same files, at least three that do not know of each other for each, as of November 2026; a file that is
 * another is not used, so that a wrong one here costs a refusal and no more.
 */

export interface ModelFile {
  /** Its name in the model's folder. */
  readonly name: string
  readonly url: string
  readonly bytes: number
  readonly sha256: string
  /** What is taken out of it, for an archive with one folder: it is not kept itself. */
  readonly unpack?: readonly string[]
}

/** What sherpa-onnx is told, by its names: file names in the model's folder. */
export type ModelParts =
  | { readonly whisper: { readonly encoder: string; readonly decoder: string }; readonly tokens: string }
  | { readonly vits: { readonly model: string; readonly tokens: string; readonly dataDir: string } }
  | {
      readonly kokoro: {
        readonly model: string
        readonly voices: string
        readonly tokens: string
        readonly dataDir: string
      }
    }

export interface Model {
  readonly name: string
  readonly files: readonly ModelFile[]
  readonly parts: ModelParts
  /** Whether it knows more languages than English. */
  readonly multilingual?: boolean
  /** Of a voice, BCP 47. */
  readonly language?: string
  /** A voice's speakers, in the order of their numbers. */
  readonly speakers?: readonly string[]
}

const releases = 'https://github.com/k2-fsa/sherpa-onnx/releases/download'
const base =
  'https://huggingface.co/csukuangfj/sherpa-onnx-whisper-base/resolve/bb53ee204431c90d314c1cc08d28d23e5b7927cc'
const tinyEnglish =
  'https://huggingface.co/csukuangfj/sherpa-onnx-whisper-tiny.en/resolve/d026532c022fa99fd789d6b32446a1df7b6bfc43'

/** The first is what the gateway takes by itself. MIT, as OpenAI's own weights. */
export const whispers: readonly Model[] = [
  {
    name: 'whisper-base',
    multilingual: true,
    files: [
      {
        name: 'base-encoder.int8.onnx',
        url: `${base}/base-encoder.int8.onnx`,
        bytes: 29_120_534,
        sha256: '0b8fb1304b6109976038efff5ace81720e00386f3ff6b54ee8c75291ca0a1e11',
      },
      {
        name: 'base-decoder.int8.onnx',
        url: `${base}/base-decoder.int8.onnx`,
        bytes: 130_672_026,
        sha256: '9759d217388a01b3a4c7c15533201067b48ae819c4daafc8624e64b9409dc02d',
      },
      {
        name: 'base-tokens.txt',
        url: `${base}/base-tokens.txt`,
        bytes: 816_730,
        sha256: 'b34b360dbb493e781e479794586d661700670d65564001f23024971d1f2fa126',
      },
    ],
    parts: {
      whisper: { encoder: 'base-encoder.int8.onnx', decoder: 'base-decoder.int8.onnx' },
      tokens: 'base-tokens.txt',
    },
  },
  {
    name: 'whisper-tiny.en',
    files: [
      {
        name: 'tiny.en-encoder.int8.onnx',
        url: `${tinyEnglish}/tiny.en-encoder.int8.onnx`,
        bytes: 12_937_772,
        sha256: '0ce578b827c94a961aacb8fa14b02f096504b337e5c94be37c36238cbe3e8bc6',
      },
      {
        name: 'tiny.en-decoder.int8.onnx',
        url: `${tinyEnglish}/tiny.en-decoder.int8.onnx`,
        bytes: 89_853_865,
        sha256: '06c0e6ff6348d427e51839219d1c886c18cfdf411e629e33f5e1679bff9c1527',
      },
      {
        name: 'tiny.en-tokens.txt',
        url: `${tinyEnglish}/tiny.en-tokens.txt`,
        bytes: 835_554,
        sha256: '306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930',
      },
    ],
    parts: {
      whisper: { encoder: 'tiny.en-encoder.int8.onnx', decoder: 'tiny.en-decoder.int8.onnx' },
      tokens: 'tiny.en-tokens.txt',
    },
  },
]

/** The first is what the gateway takes by itself. */
export const voices: readonly Model[] = [
  {
    // Apache-2.0. Four cores speak about as fast as it is listened to.
    name: 'kokoro-int8-en-v0_19',
    language: 'en',
    files: [
      {
        name: 'kokoro-int8-en-v0_19.tar.bz2',
        url: `${releases}/tts-models/kokoro-int8-en-v0_19.tar.bz2`,
        bytes: 103_248_205,
        sha256: 'c9f0dd393615805b0bab050c340834d5e684e732aec91c0e860cd30e982c08bd',
        unpack: ['model.int8.onnx', 'voices.bin', 'tokens.txt', 'espeak-ng-data'],
      },
    ],
    parts: {
      kokoro: {
        model: 'model.int8.onnx',
        voices: 'voices.bin',
        tokens: 'tokens.txt',
        dataDir: 'espeak-ng-data',
      },
    },
    // Source: https://k2-fsa.github.io/sherpa/onnx/tts/all/English/kokoro-en-v0_19.html
    speakers: [
      'af',
      'af_bella',
      'af_nicole',
      'af_sarah',
      'af_sky',
      'am_adam',
      'am_michael',
      'bf_emma',
      'bf_isabella',
      'bm_george',
      'bm_lewis',
    ],
  },
  {
    // Several times as fast as Kokoro, but trained on recordings that are free for research alone.
    name: 'vits-piper-en_US-lessac-medium',
    language: 'en-US',
    files: [
      {
        name: 'vits-piper-en_US-lessac-medium.tar.bz2',
        url: `${releases}/tts-models/vits-piper-en_US-lessac-medium.tar.bz2`,
        bytes: 67_230_653,
        sha256: '9e3febfacf0abf4270172d2958bcec246032b7e88efc2720840cc80c93de334e',
        unpack: ['en_US-lessac-medium.onnx', 'tokens.txt', 'espeak-ng-data'],
      },
    ],
    parts: {
      vits: { model: 'en_US-lessac-medium.onnx', tokens: 'tokens.txt', dataDir: 'espeak-ng-data' },
    },
    speakers: ['lessac'],
  },
]
