import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { describe, expect, it } from 'vitest'

describe('the model for voice activity', () => {
  // From 1.29 on ONNX Runtime tells its maker of each model that is loaded, unless it is told not to.
  it('runs in a library that has no address to tell anybody', async () => {
    const entry = createRequire(import.meta.url).resolve('onnxruntime-node')
    const folder = join(dirname(entry), '..', 'bin', 'napi-v6', process.platform, process.arch)
    const files = (await readdir(folder)).filter((name) => /libonnxruntime|onnxruntime_binding/.test(name))
    expect(files.length).toBeGreaterThan(1)
    for (const name of files) {
      const bytes = await readFile(join(folder, name))
      expect(bytes.includes('OneCollector'), name).toBe(false)
      expect(bytes.includes('data.microsoft.com'), name).toBe(false)
    }
  })

  it('leaves nothing behind in the home of who runs it', async () => {
    const home = await mkdtemp(join(tmpdir(), 'sotto-home-'))
    try {
      const silero = new URL('silero.ts', import.meta.url).href
      const program = `const { loadSilero } = await import(${JSON.stringify(silero)}); await (await loadSilero()).close()`
      // As on a machine of people: it is quiet by itself where tests run.
      const env = { PATH: process.env.PATH ?? '', HOME: home }
      await execa(process.execPath, ['--input-type=module', '-e', program], { env, extendEnv: false })
      expect(await readdir(home)).toEqual([])
    } finally {
      await rm(home, { recursive: true })
    }
  })
})
