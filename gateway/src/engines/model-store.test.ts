import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { createModelStore } from './model-store.ts'
import { voices, whispers, type Model, type ModelFile } from './models.ts'
import { deadUrl, serve, type Call } from './upstream.fixture.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const never = new AbortController().signal
const parts = { whisper: { encoder: 'a', decoder: 'b' }, tokens: 'c' }
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'sotto-models-'))
  closers.push(() => rm(path, { recursive: true }))
  return path
}

/** A model of one file; the server sends what the test says. */
async function published(bytes: Buffer, answer: (call: Call) => unknown, more: Partial<ModelFile> = {}) {
  const served = await serve(answer)
  closers.push(served.close)
  const file = { name: 'a.onnx', url: `${served.url}/a`, bytes: bytes.length, sha256: sha256(bytes), ...more }
  const model: Model = { name: 'tiny', files: [file], parts }
  const directory = await folder()
  return { served, model, directory, store: createModelStore(directory) }
}

/** As hubs send files: whole, or from where a Range begins. */
function send(bytes: Buffer, { request, response }: Call): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  response.writeHead(from > 0 ? 206 : 200).end(bytes.subarray(from))
}

describe('a model', () => {
  it('is fetched with its progress, also by way of another address, and is there afterwards', async () => {
    const bytes = randomBytes(500_000)
    const { store, model, directory } = await published(bytes, (call) =>
      call.route === 'GET /a'
        ? call.response.writeHead(302, { location: '/elsewhere' }).end()
        : send(bytes, call),
    )
    expect(store.find(model)).toBeUndefined()
    const progress: number[] = []
    const place = await store.fetch(model, (part) => progress.push(part), never)
    expect(place).toBe(join(directory, 'tiny'))
    expect(store.find(model)).toBe(place)
    expect(await readFile(join(place, 'a.onnx'))).toEqual(bytes)
    expect(await readdir(place)).toEqual(['a.onnx'])
    expect([progress.toSorted((one, other) => one - other), progress.at(-1)]).toEqual([progress, 1])
    expect(progress.length).toBeGreaterThan(2)
  })

  it('goes on from where it broke off', async () => {
    const bytes = randomBytes(400_000)
    let cut = true
    const { store, model, served, directory } = await published(bytes, (call) => {
      if (!cut) return send(bytes, call)
      cut = false
      call.response.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 300_000))
      return setTimeout(() => call.response.destroy(), 50)
    })
    await expect(store.fetch(model, () => {}, never)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('models/tiny/a.onnx') as string,
    })
    expect(store.find(model)).toBeUndefined()
    await store.fetch(model, () => {}, never)
    expect(served.calls.map(({ request }) => request.headers.range)).toEqual([undefined, 'bytes=300000-'])
    expect(await readFile(join(directory, 'tiny', 'a.onnx'))).toEqual(bytes)
  })

  it('is fetched anew where the server knows no ranges', async () => {
    const bytes = randomBytes(1_000)
    const { store, model, directory } = await published(bytes, ({ response }) => response.end(bytes))
    await mkdir(join(directory, 'tiny'))
    await writeFile(join(directory, 'tiny', 'a.onnx.partial'), 'half')
    await store.fetch(model, () => {}, never)
    expect(await readFile(join(directory, 'tiny', 'a.onnx'))).toEqual(bytes)
  })

  it('that is another than what was published is deleted', async () => {
    const bytes = randomBytes(1_000)
    const { store, model, directory } = await published(bytes, ({ response }) =>
      response.end(randomBytes(1_000)),
    )
    await expect(store.fetch(model, () => {}, never)).rejects.toMatchObject({
      code: 'bad_upstream',
      message: expect.stringContaining('checksum') as string,
    })
    expect(await readdir(join(directory, 'tiny'))).toEqual([])
    expect(store.find(model)).toBeUndefined()
  })

  it('is refused where there is more of it than was published', async () => {
    const bytes = randomBytes(1_000)
    const { store, model } = await published(bytes, ({ response }) => response.end(randomBytes(2_000)))
    await expect(store.fetch(model, () => {}, never)).rejects.toMatchObject({ name: 'Failure' })
    expect(store.find(model)).toBeUndefined()
  })

  it('that can not be had says which file to put where', async () => {
    const bytes = randomBytes(10)
    const { store, model } = await published(bytes, ({ response }) => response.writeHead(403).end())
    const url = await deadUrl()
    const offline = { ...model, files: model.files.map((file) => ({ ...file, url })) }
    for (const [one, why] of [
      [model, 'the answer is 403'],
      [offline, 'nobody answers'],
    ] as const)
      await expect(store.fetch(one, () => {}, never)).rejects.toMatchObject({
        code: 'unavailable',
        message: `a.onnx of tiny can’t be fetched: ${why}. Fetch ${one.files[0]?.url} on another machine and put it to models/tiny/a.onnx in the state directory.`,
      })
  })

  it('comes out of its archive whole, fetched or put there by hand, and the archive goes', async () => {
    const source = await folder()
    await mkdir(join(source, 'whisper', 'data'), { recursive: true })
    await writeFile(join(source, 'whisper', 'a.onnx'), 'model')
    await writeFile(join(source, 'whisper', 'unwanted.onnx'), 'fp32')
    await writeFile(join(source, 'whisper', 'data', 'en'), 'english')
    const archive = join(source, 'whisper.tar.bz2')
    await promisify(execFile)('tar', ['-cjf', archive, '-C', source, 'whisper'])
    const bytes = await readFile(archive)
    const more = { name: 'whisper.tar.bz2', unpack: ['a.onnx', 'data'] }
    const { store, model, directory, served } = await published(bytes, (call) => send(bytes, call), more)
    await store.fetch(model, () => {}, never)
    expect((await readdir(join(directory, 'tiny'))).sort()).toEqual(['a.onnx', 'data'])
    expect(await readFile(join(directory, 'tiny', 'data', 'en'), 'utf8')).toBe('english')
    const asked = served.calls.length
    await rm(join(directory, 'tiny', 'data'), { recursive: true })
    await writeFile(join(directory, 'tiny', 'whisper.tar.bz2'), bytes)
    await store.fetch(model, () => {}, never)
    expect(store.find(model)).toBeDefined()
    expect(served.calls.length).toBe(asked)
  })
})

describe('the catalogue', () => {
  it('has a checksum for everything, and all of a model’s parts among its files', () => {
    for (const { files, parts: named } of [...whispers, ...voices]) {
      const there = files.flatMap(({ name, unpack }) => unpack ?? [name])
      for (const { sha256: sum, url } of files) {
        expect(sum).toMatch(/^[0-9a-f]{64}$/)
        expect(url).toMatch(/^https:/)
      }
      const used = JSON.stringify(named).match(/"[^"]*[.-][^"]*"/g) ?? []
      for (const name of used) expect(there).toContain(JSON.parse(name))
    }
  })
})
