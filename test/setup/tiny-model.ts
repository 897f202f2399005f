/**
 * A language model of random weights, for the real Ollama to run where no real weights can be had: a llama of
 * two small layers whose vocabulary is whole words, so that what it babbles can be read. The same program
 * gives the same file. Format: GGUF version 3, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md;
 * keys and tensors are those that llama.cpp asks of `LLM_ARCH_LLAMA` in src/llama-model.cpp.
 */
import { writeFile } from 'node:fs/promises'

const context = 2048
const embedding = 64
const layers = 2
const heads = 4
const feedForward = 128

/**
 * At 1 and 1, attention is a blur over the whole prompt and hardly heard, so that all prompts have one answer.
 * So each head looks at few tokens, and says loudly what it saw.
 */
const attention = { focus: 6, loudness: 2 }

const words =
  'time year people way day man thing woman life child world school state family student group country problem hand part place case week company system program question work number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game line end member law car city community name president team minute idea body information back parent face others level office door health person art war history party result change morning reason research girl guy moment air teacher force education'.split(
    ' ',
  )

/** As SentencePiece marks the space before a word. */
const space = '▁'

/** Every byte is a token, so that any text can be read; SentencePiece's names for them. */
const bytes = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
)
const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...words.map((word) => space + word)]
const firstWord = tokens.length - words.length

/** Writes the model, some 300 KB. What it says ends only at the limit that the request or the Modelfile sets. */
export async function writeTinyModel(file: string): Promise<void> {
  const tensors = makeTensors()
  const offsets = tensors.map((_, index) =>
    tensors.slice(0, index).reduce((sum, { data }) => sum + aligned(data).length, 0),
  )
  const entries = metadata()
  const head = [
    Buffer.from('GGUF'),
    scalar('u32', 3),
    size(tensors.length),
    size(entries.length),
    ...entries.flatMap(entry),
    ...tensors.flatMap((tensor, index) => description(tensor, offsets[index] ?? 0)),
  ]
  await writeFile(file, [aligned(Buffer.concat(head)), ...tensors.map(({ data }) => aligned(data))])
}

type Entry = readonly [key: string, kind: Kind, value: Scalar | readonly Scalar[]]

function metadata(): Entry[] {
  return [
    ['general.architecture', 'string', 'llama'],
    ['general.name', 'string', 'tiny random'],
    ['general.file_type', 'u32', 1], // mostly F16
    ['llama.context_length', 'u32', context],
    ['llama.embedding_length', 'u32', embedding],
    ['llama.block_count', 'u32', layers],
    ['llama.feed_forward_length', 'u32', feedForward],
    ['llama.attention.head_count', 'u32', heads],
    ['llama.attention.head_count_kv', 'u32', heads],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
    ['llama.rope.dimension_count', 'u32', embedding / heads],
    ['llama.vocab_size', 'u32', tokens.length],
    ['tokenizer.ggml.model', 'string', 'llama'],
    ['tokenizer.ggml.tokens', 'string', tokens],
    ['tokenizer.ggml.scores', 'f32', tokens.map((_, id) => -id)],
    ['tokenizer.ggml.token_type', 'i32', tokens.map((_, id) => tokenType(id))],
    ['tokenizer.ggml.bos_token_id', 'u32', 1],
    ['tokenizer.ggml.eos_token_id', 'u32', 2],
    ['tokenizer.ggml.unknown_token_id', 'u32', 0],
    [
      'tokenizer.chat_template',
      'string',
      "{% for message in messages %}{{ message['content'] }}\n{% endfor %}",
    ],
  ]
}

/** `llama_token_type`: normal 1, unknown 2, control 3, byte 6. */
function tokenType(id: number): number {
  if (id >= firstWord) return 1
  if (id >= 3) return 6
  return id === 0 ? 2 : 3
}

interface Tensor {
  readonly name: string
  /** Fastest dimension first, as ggml has it. */
  readonly shape: readonly number[]
  /** Matrices in half precision, norms in single, as every converter writes them. */
  readonly data: Float16Array | Float32Array
}

function makeTensors(): Tensor[] {
  const random = seeded(20_261_120)
  const matrix = (name: string, input: number, output: number, value: (index: number) => number): Tensor => ({
    name: `${name}.weight`,
    shape: [input, output],
    data: Float16Array.from({ length: input * output }, (_, index) => value(index)),
  })
  const noise = (name: string, input: number, output: number, gain = 1) =>
    matrix(name, input, output, () => (gain * random()) / Math.sqrt(input))
  const norm = (name: string): Tensor => ({
    name: `${name}.weight`,
    shape: [embedding],
    data: new Float32Array(embedding).fill(1),
  })
  const block = (_: unknown, layer: number): Tensor[] => [
    norm(`blk.${layer}.attn_norm`),
    noise(`blk.${layer}.attn_q`, embedding, embedding, attention.focus),
    noise(`blk.${layer}.attn_k`, embedding, embedding, attention.focus),
    noise(`blk.${layer}.attn_v`, embedding, embedding, attention.loudness),
    noise(`blk.${layer}.attn_output`, embedding, embedding, attention.loudness),
    norm(`blk.${layer}.ffn_norm`),
    noise(`blk.${layer}.ffn_gate`, embedding, feedForward),
    noise(`blk.${layer}.ffn_up`, embedding, feedForward),
    noise(`blk.${layer}.ffn_down`, feedForward, embedding),
  ]
  return [
    matrix('token_embd', embedding, tokens.length, random),
    ...Array.from({ length: layers }, block).flat(),
    norm('output_norm'),
    // Control tokens and bytes have no weight, so that the likeliest token is always a word.
    matrix('output', embedding, tokens.length, (index) => (index < firstWord * embedding ? 0 : random())),
  ]
}

/** Mulberry32 (public domain), −1 to 1: the same on every machine. Simpler generators repeat themselves by rows. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 31 - 1
  }
}

/** `gguf_type`, of those that are used here. */
const kinds = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 } as const
type Kind = Exclude<keyof typeof kinds, 'array'>
type Scalar = string | number

function entry([key, kind, value]: Entry): Buffer[] {
  if (typeof value !== 'object') return [text(key), scalar('u32', kinds[kind]), scalar(kind, value)]
  const head = [text(key), scalar('u32', kinds.array), scalar('u32', kinds[kind]), size(value.length)]
  return [...head, ...value.map((item) => scalar(kind, item))]
}

/** @param offset from the first tensor, in bytes */
function description({ name, shape, data }: Tensor, offset: number): Buffer[] {
  const type = data instanceof Float16Array ? 1 : 0 // `ggml_type`
  return [text(name), scalar('u32', shape.length), ...shape.map(size), scalar('u32', type), size(offset)]
}

function scalar(kind: Kind, value: Scalar): Buffer {
  if (kind === 'string') return text(String(value))
  const buffer = Buffer.alloc(4)
  if (kind === 'f32') buffer.writeFloatLE(Number(value))
  else if (kind === 'i32') buffer.writeInt32LE(Number(value))
  else buffer.writeUInt32LE(Number(value))
  return buffer
}

function text(value: string): Buffer {
  const encoded = Buffer.from(value)
  return Buffer.concat([size(encoded.length), encoded])
}

function size(value: number): Buffer {
  const buffer = Buffer.alloc(8)
  buffer.writeBigUInt64LE(BigInt(value))
  return buffer
}

/** Filled with zeros to a multiple of 32 bytes, GGUF's default alignment. */
function aligned(data: Buffer | Tensor['data']): Buffer {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return Buffer.concat([buffer, Buffer.alloc((32 - (buffer.length % 32)) % 32)])
}
