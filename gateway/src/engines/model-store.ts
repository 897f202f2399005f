/** Where the embedded engine's models lie, and how they come there: whole and as published, or not at all. */
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, existsSync, statSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { execa } from 'execa'
import { fetch } from 'undici'
import { Failure } from '../failure.ts'
import type { Model, ModelFile } from './models.ts'

export interface ModelStore {
  /** The model's folder; undefined while something of it is missing. */
  find(model: Model): string | undefined
  /**
   * Fetches what is missing, goes on where it broke off before, and resolves to the model's folder. Throws a
   * `Failure` that says which file to put where by hand.
   *
   * @param onProgress is told the part that is there, from 0 to 1
   */
  fetch(model: Model, onProgress: (part: number) => void, signal: AbortSignal): Promise<string>
}

/** @param directory one folder in it for each model */
export function createModelStore(directory: string): ModelStore {
  const find = (model: Model): string | undefined => {
    const folder = join(directory, model.name)
    return model.files.every((file) => isThere(folder, file)) ? folder : undefined
  }
  return {
    find,
    async fetch(model, onProgress, signal) {
      const folder = join(directory, model.name)
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const all = model.files.reduce((sum, { bytes }) => sum + bytes, 0)
      let before = 0
      for (const file of model.files) {
        const sofar = before
        const place = join(folder, file.name)
        if (!isThere(folder, file)) {
          // An archive may have been put there by hand.
          if (sizeOf(place) !== file.bytes)
            await download(model, file, place, (bytes) => onProgress((sofar + bytes) / all), signal)
          if (file.unpack) await unpack(model, file, folder, file.unpack)
        }
        before += file.bytes
        onProgress(before / all)
      }
      return folder
    },
  }
}

function isThere(folder: string, { name, bytes, unpack: parts }: ModelFile): boolean {
  return parts ? parts.every((part) => existsSync(join(folder, part))) : sizeOf(join(folder, name)) === bytes
}

/** -1 where there is none. */
function sizeOf(place: string): number {
  return statSync(place, { throwIfNoEntry: false })?.size ?? -1
}

async function download(
  model: Model,
  file: ModelFile,
  place: string,
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const partial = `${place}.partial`
  if (sizeOf(partial) > file.bytes) await rm(partial)
  if (sizeOf(partial) < file.bytes) await receive(model, file, partial, onProgress, signal)
  if (sizeOf(partial) !== file.bytes || (await sha256Of(partial)) !== file.sha256) {
    await rm(partial)
    throw new Failure(
      'bad_upstream',
      `${file.name} of ${model.name} is not the file that was published: its checksum is another. It was deleted. ${byHand(model, file)}`,
    )
  }
  await rename(partial, place)
}

async function receive(
  model: Model,
  file: ModelFile,
  partial: string,
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const missing = (why: string, cause?: unknown) =>
    new Failure(
      'unavailable',
      `${file.name} of ${model.name} can’t be fetched: ${why}. ${byHand(model, file)}`,
      cause,
    )
  const had = Math.max(0, sizeOf(partial))
  const answer = await fetch(file.url, {
    // Its length and its bytes are those of the file, then.
    headers: { 'accept-encoding': 'identity', ...(had > 0 && { range: `bytes=${had}-` }) },
    signal,
  }).catch((error: unknown) => {
    throw signal.aborted ? error : missing('nobody answers', error)
  })
  if (!answer.ok || !answer.body) throw missing(`the answer is ${answer.status}`)
  // Who knows no ranges sends it from its beginning.
  let bytes = answer.status === 206 ? had : 0
  async function* counted(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      bytes += chunk.length
      if (bytes > file.bytes) throw new Error('There is more than there should be.')
      onProgress(bytes)
      yield chunk
    }
  }
  const flags = answer.status === 206 ? 'a' : 'w'
  await pipeline(answer.body, counted, createWriteStream(partial, { flags, mode: 0o600 }), { signal }).catch(
    (error: unknown) => {
      throw signal.aborted ? error : missing('it broke off, and goes on from there next time', error)
    },
  )
  if (bytes < file.bytes) throw missing('it broke off, and goes on from there next time')
}

/** Its parts come to their places only when all of it is unpacked. */
async function unpack(
  model: Model,
  file: ModelFile,
  folder: string,
  parts: readonly string[],
): Promise<void> {
  const archive = join(folder, file.name)
  if ((await sha256Of(archive)) !== file.sha256) {
    await rm(archive)
    throw new Failure(
      'bad_upstream',
      `${file.name} of ${model.name} is not the file that was published: its checksum is another. It was deleted. ${byHand(model, file)}`,
    )
  }
  const aside = join(folder, '.unpacking')
  await rm(aside, { recursive: true, force: true })
  await mkdir(aside)
  await execa('tar', ['-xjf', archive, '-C', aside, '--strip-components=1', '--no-same-owner']).catch(
    (error: unknown) => {
      throw new Failure(
        'unavailable',
        `${file.name} of ${model.name} can’t be unpacked. On the gateway’s machine: sudo apt install tar bzip2`,
        error,
      )
    },
  )
  for (const part of parts) {
    await rm(join(folder, part), { recursive: true, force: true })
    await rename(join(aside, part), join(folder, part))
  }
  await rm(aside, { recursive: true })
  await rm(archive)
}

async function sha256Of(place: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(place), hash)
  return hash.digest('hex')
}

/** What an admin does where the gateway has no way out. */
function byHand({ name }: Model, file: ModelFile): string {
  return `Fetch ${file.url} on another machine and put it to models/${name}/${file.name} in the state directory.`
}
