/** An engine that answers in time is there, also where this process is too late to read what it says. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createBackend } from './backend.ts'

/** An Ollama on a thread of its own: it answers at once, whatever holds this one up. */
const ollama = `
const { createServer } = require('node:http')
const { parentPort } = require('node:worker_threads')
const told = {
  '/api/version': { version: '0.24.0' },
  '/api/tags': { models: [{ name: 'tiny:latest' }] },
  '/api/ps': { models: [] },
}
const server = createServer((request, response) => {
  setTimeout(() => response.end(JSON.stringify(told[request.url] ?? {})), 100)
})
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
`

it('an engine is not taken for gone by a gateway that is held up itself', { timeout: 60_000 }, async () => {
  const thread = new Worker(ollama, { eval: true })
  const [port] = await once(thread, 'message')
  const config = { name: 'desk', url: `http://127.0.0.1:${port}`, kind: 'ollama', parallel: 1 } as const
  let changes = 0
  const changed = (): void => {
    changes += 1
  }
  const backend = await createBackend(config, changed, 1)
  expect(backend.state.status).toBe('up')
  for (let round = 0; round < 5; round += 1) {
    // A look is on its way; its answer comes while nothing runs here.
    await new Promise((settle) => setTimeout(settle, 20))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_600)
    await turn()
  }
  expect([backend.state.status, changes]).toEqual(['up', 1])
  // One that answers no more is gone as ever.
  await thread.terminate()
  await expect.poll(() => backend.state.status, { timeout: 20_000 }).toBe('down')
  await backend.close()
})
