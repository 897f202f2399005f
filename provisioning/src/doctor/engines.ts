import { once } from 'node:events'
import { connect } from 'node:net'
import { request } from 'undici'
import { z } from 'zod'
import { failed, ok, skipped, warning, type Check } from './check.ts'

const answerTimeoutMs = 3_000

export const ollama: Check = {
  code: 'ollama',
  name: 'Ollama',
  async run({ ollama: url }) {
    const version = z.object({ version: z.string() }).safeParse(await ask(`${url}/api/version`))
    if (!version.success)
      return failed(
        `No Ollama answers at ${url}`,
        'Start it (`ollama serve`), or name another: npm start -- --ollama URL',
      )
    const tags = z
      .object({ models: z.array(z.object({ name: z.string() })) })
      .safeParse(await ask(`${url}/api/tags`))
    const models = tags.success ? tags.data.models.length : 0
    if (models === 0) return warning(`Ollama ${version.data.version} has no model`, 'ollama pull llama3.2')
    if (/^(0\.0\.0\.0|\[?::\]?)(:|$)/.test(process.env.OLLAMA_HOST ?? ''))
      return warning(
        `Ollama ${version.data.version} listens on every address of this machine, without a password`,
        'Set OLLAMA_HOST=127.0.0.1 for it: the gateway reaches it there, and nobody else should',
      )
    return ok(`${version.data.version} with ${models} model${models === 1 ? '' : 's'}`)
  },
}

export const whisper: Check = {
  code: 'whisper',
  name: 'Whisper',
  async run({ whisper: url }) {
    if (url === undefined) return skipped('none is named: npm start -- --whisper URL')
    if (await listens(url)) return ok(`answers at ${url}`)
    return failed(
      `No Whisper answers at ${url}`,
      'Start it (`whisper-server -m MODEL`), or name another: npm start -- --whisper URL',
    )
  },
}

/** whisper.cpp says how it is at /health, OpenAI-compatible servers list their models, others describe themselves. */
async function listens(url: string): Promise<boolean> {
  if (url.startsWith('tcp:')) return accepts(url)
  for (const path of ['/health', '/v1/models', '/openapi.json'])
    if ((await ask(`${url}${path}`)) !== undefined) return true
  return false
}

/** Whether somebody takes a connection at `tcp://host:port`; without a port, at that of Wyoming's ears. */
async function accepts(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname.replaceAll(/[[\]]/g, ''), port: Number(port || 10_300) })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(answerTimeoutMs) })
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** Undefined where nobody answers in time, or not in JSON. */
async function ask(url: string): Promise<unknown> {
  try {
    const { statusCode, body } = await request(url, {
      headersTimeout: answerTimeoutMs,
      bodyTimeout: answerTimeoutMs,
    })
    const text = await body.text()
    return statusCode === 200 ? JSON.parse(text) : undefined
  } catch {
    return undefined
  }
}
