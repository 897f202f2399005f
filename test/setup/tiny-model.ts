/**
 * A language model of random weights, for the real Ollama to run where no real weights can be had: a llama of
 * four small layers whose vocabulary is whole words, so that what it babbles can be read. The same seed gives
 * the same file. Format: GGUF version 3, ggml's `docs/gguf.md`; keys and tensors as llama.cpp reads them.
 */
import { writeFile } from 'node:fs/promises'

const embedding = 256
const layers = 4
const heads = 8
const feedForward = 1024
const words =
  'time year people way day man thing woman life child world school state family student group country problem hand part place case week company system program question work number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game line end member law car city community name president team minute idea body information back parent face others level office door health person art war history party result change morning reason research girl guy moment air teacher force education'.split(
    ' ',
  )

/** Writes the model; some 17 MB. */
export async function writeTinyModel(file: string): Promise<void> {
  const tokens = [
    '<unk>',
    '<s>',
    '</s>',
    ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
    ...words.map((word) => `▁${word}`),
  ]
  const firstWord = tokens.length - words.length
  const kinds = tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < firstWord ? 6 : 1))
  const tensors = makeTensors(tokens.length, firstWord)
  const out = createWriter()
  out.text('GGUF')
  out.u32(3)
  out.u64(tensors.length)
  const keys: [string, () => void][] = [
    ['general.architecture', () => out.value('llama')],
    ['general.name', () => out.value('tiny random')],
    ['general.file_type', () => out.value(0)],
    ['llama.context_length', () => out.value(4096)],
    ['llama.embedding_length', () => out.value(embedding)],
    ['llama.block_count', () => out.value(layers)],
    ['llama.feed_forward_length', () => out.value(feedForward)],
    ['llama.attention.head_count', () => out.value(heads)],
    ['llama.attention.head_count_kv', () => out.value(heads)],
    ['llama.attention.layer_norm_rms_epsilon', () => out.float(1e-5)],
    ['llama.rope.dimension_count', () => out.value(embedding / heads)],
    ['llama.vocab_size', () => out.value(tokens.length)],
    ['tokenizer.ggml.model', () => out.value('llama')],
    ['tokenizer.ggml.tokens', () => out.strings(tokens)],
    ['tokenizer.ggml.scores', () => out.floats(tokens.map((_, id) => -id))],
    ['tokenizer.ggml.token_type', () => out.integers(kinds)],
    ['tokenizer.ggml.unknown_token_id', () => out.value(0)],
    ['tokenizer.ggml.bos_token_id', () => out.value(1)],
    ['tokenizer.ggml.eos_token_id', () => out.value(2)],
  ]
  out.u64(keys.length)
  for (const [key, write] of keys) {
    out.string(key)
    write()
  }
  let offset = 0
  for (const { name, shape } of tensors) {
    out.string(name)
    out.u32(shape.length)
    for (const size of shape) out.u64(size)
    out.u32(0)
    out.u64(offset)
    offset += 4 * shape.reduce((product, size) => product * size, 1)
  }
  out.align()
  for (const { data } of tensors) out.bytes(Buffer.from(data.buffer))
  await writeFile(file, out.whole())
}

interface Tensor {
  readonly name: string
  /** Fastest dimension first, as ggml has it. */
  readonly shape: readonly number[]
  readonly data: Float32Array
}

function makeTensors(vocabulary: number, firstWord: number): Tensor[] {
  const random = seeded(20_261_120)
  const make = (name: string, shape: readonly number[], value: (index: number) => number): Tensor => ({
    name,
    shape,
    data: Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, (_, index) =>
      value(index),
    ),
  })
  const noise = (name: string, input: number, output: number) =>
    make(name, [input, output], () => random() / Math.sqrt(input))
  const norm = (name: string) => make(name, [embedding], () => 1)
  const blocks = Array.from({ length: layers }, (_, layer) => `blk.${layer}`).flatMap((block) => [
    norm(`${block}.attn_norm.weight`),
    ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].map((part) =>
      noise(`${block}.${part}.weight`, embedding, embedding),
    ),
    norm(`${block}.ffn_norm.weight`),
    noise(`${block}.ffn_gate.weight`, embedding, feedForward),
    noise(`${block}.ffn_up.weight`, embedding, feedForward),
    noise(`${block}.ffn_down.weight`, feedForward, embedding),
  ])
  return [
    make('token_embd.weight', [embedding, vocabulary], () => random()),
    ...blocks,
    norm('output_norm.weight'),
    // Control tokens and bytes have no weight, so that the likeliest token is always a word.
    make('output.weight', [embedding, vocabulary], (index) => (index < firstWord * embedding ? 0 : random())),
  ]
}

/** A linear congruential generator (Numerical Recipes), −1 to 1: good enough for noise, and the same everywhere. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 31 - 1
  }
}

const types = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 } as const

function createWriter() {
  const parts: Buffer[] = []
  let length = 0
  const bytes = (part: Buffer): void => {
    parts.push(part)
    length += part.length
  }
  const sized = (size: number, write: (buffer: Buffer) => void): void => {
    const buffer = Buffer.alloc(size)
    write(buffer)
    bytes(buffer)
  }
  const u32 = (value: number) => sized(4, (buffer) => buffer.writeUInt32LE(value))
  const u64 = (value: number) => sized(8, (buffer) => buffer.writeBigUInt64LE(BigInt(value)))
  const f32 = (value: number) => sized(4, (buffer) => buffer.writeFloatLE(value))
  const string = (text: string): void => {
    const encoded = Buffer.from(text)
    u64(encoded.length)
    bytes(encoded)
  }
  const array = <T>(type: number, values: readonly T[], write: (value: T) => void): void => {
    u32(types.array)
    u32(type)
    u64(values.length)
    for (const value of values) write(value)
  }
  return {
    bytes,
    u32,
    u64,
    string,
    text: (text: string) => bytes(Buffer.from(text)),
    value(value: string | number) {
      u32(typeof value === 'string' ? types.string : types.u32)
      if (typeof value === 'string') string(value)
      else u32(value)
    },
    float(value: number) {
      u32(types.f32)
      f32(value)
    },
    strings: (values: readonly string[]) => array(types.string, values, string),
    floats: (values: readonly number[]) => array(types.f32, values, f32),
    integers: (values: readonly number[]) => array(types.i32, values, u32),
    /** To the next multiple of 32 bytes, where the tensors begin. */
    align: () => bytes(Buffer.alloc((32 - (length % 32)) % 32)),
    whole: () => Buffer.concat(parts),
  }
}
