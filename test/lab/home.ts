/** A home as the browser tests use it: a hub with engines and a gateway, a device on its overlay, a page. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { expect } from 'vitest'
import { speakAll } from '../stand-ins/speech.ts'
import { openBrowser } from './browser.ts'
import {
  joinOverlay,
  startGateway,
  startStandIn,
  temporaryDirectory,
  type RunningGateway,
} from './gateway.ts'
import { createLab, type Host } from './lab.ts'

/** Screenshots go here; they are kept as output of the tests. */
export const output = join(import.meta.dirname, '..', '..', 'test-output')

export interface Engine {
  readonly url: string
  stop(): Promise<void>
}

interface Visit extends BrowserContextOptions {
  /** Spoken into the microphone, a second after the page opens it, each with so much silence after it, seconds. */
  readonly sentence?: string
  readonly sentences?: readonly { readonly sentence: string; readonly after: number }[]
}

export interface Home<Ollama extends Engine> {
  readonly hub: Host
  /** On its overlay; the page is opened there. */
  readonly device: Host
  readonly gateway: RunningGateway
  readonly ollama: Ollama
  readonly whisper: Engine
  /** Opens the page on the device; `requests` is every address that it asked for. */
  visit(options: Visit, task: (page: Page, requests: readonly URL[]) => Promise<void>): Promise<void>
  close(): Promise<void>
}

export async function createHome<Ollama extends Engine>(
  startOllama: (hub: Host, directory: string) => Promise<Ollama>,
): Promise<Home<Ollama>> {
  const closers: (() => Promise<unknown>)[] = []
  const lab = await createLab()
  closers.push(lab.close)
  const folder = await temporaryDirectory()
  closers.push(folder.remove)
  await mkdir(output, { recursive: true })
  const whisper = await startStandIn(lab.hub, 'whisper')
  const ollama = await startOllama(lab.hub, folder.path)
  closers.push(whisper.stop, ollama.stop)
  const options = ['--endpoint', lab.hub.address4, '--ollama', ollama.url, '--whisper', whisper.url]
  const gateway = await startGateway(lab.hub, join(folder.path, 'state'), ...options)
  closers.push(gateway.stop)
  await joinOverlay(lab.device, folder.path, gateway.firstDevice?.config ?? '')
  return {
    hub: lab.hub,
    device: lab.device,
    gateway,
    ollama,
    whisper,
    async visit({ sentence = '', sentences = [{ sentence, after: 20 }], ...context }, task) {
      const microphone = join(folder.path, 'microphone.wav')
      await speakAll(sentences, microphone)
      const ca = join(gateway.state, 'certs', 'root.crt')
      const browser = await openBrowser(lab.device, { ca, microphone, directory: folder.path, ...context })
      try {
        const page = browser.pages()[0] ?? (await browser.newPage())
        const requests: URL[] = []
        page.on('request', (request) => requests.push(new URL(request.url())))
        const [origin = ''] = gateway.origins
        await page.goto(origin).catch((error: unknown) => {
          // The device's addresses are new, and still being made sure of: Chromium gives a request up for it.
          if (!String(error).includes('ERR_NETWORK_CHANGED')) throw error
          return page.goto(origin)
        })
        await expect
          .poll(() => page.getByTestId('connection').getAttribute('data-state'), { timeout: 15_000 })
          .toBe('open')
        await task(page, requests)
      } finally {
        await browser.close()
      }
    },
    async close() {
      for (const close of closers.toReversed()) await close()
    },
  }
}
