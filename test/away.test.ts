/** The path is cut while somebody talks, or listens: when it is back, nothing said or heard is lost. */
import { setTimeout as pause } from 'node:timers/promises'
import { decodeFrame } from '@sotto/gateway/protocol/frame.ts'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandIn } from './lab/gateway.ts'
import { createHome, type Engine, type Home } from './lab/home.ts'
import type { Host } from './lab/lab.ts'
import { sentences } from './stand-ins/speech.ts'

/** Longer than the page takes to notice. */
const awayMs = 8_000

describe('a device whose WireGuard path is cut', () => {
  let home: Home<Engine>

  beforeAll(async () => {
    home = await createHome((hub) => startStandIn(hub, 'ollama'))
  })
  afterAll(() => home.close())

  const connection = (page: Page) => page.getByTestId('connection').getAttribute('data-state')
  /** Cuts the path until the page has noticed, and a while longer. */
  async function cut(page: Page): Promise<void> {
    await drop(home.device)
    await expect.poll(() => connection(page), { timeout: awayMs }).toBe('reconnecting')
    await pause(awayMs / 4)
    await passAgain(home.device)
    await expect.poll(() => connection(page), { timeout: 20_000 }).toBe('open')
  }

  it('in the middle of a question is understood whole', () => {
    const [sentence] = sentences
    return home.visit({ sentence, viewport: { width: 390, height: 844 } }, async (page) => {
      await talkHandsFree(page)
      await expect.poll(() => page.getByTestId('state').getAttribute('data-state')).toBe('listening')
      // A second of silence, then two of the sentence: it is cut in its middle.
      await page.waitForTimeout(1_900)
      await cut(page)
      const said = page.getByTestId('message-user').getByTestId('text')
      await expect.poll(() => said.allTextContents(), { timeout: 20_000 }).toEqual([sentence])
      const answer = page.getByTestId('message-assistant')
      await expect.poll(() => answer.getAttribute('data-status'), { timeout: 30_000 }).toBe('completed')
    })
  })

  it('in the middle of an answer hears the rest of it', () =>
    home.visit({ viewport: { width: 390, height: 844 } }, async (page) => {
      const sound = watchSound(page)
      await page.reload()
      await expect.poll(() => connection(page), { timeout: 15_000 }).toBe('open')
      await talkHandsFree(page)
      // Longer than what is sent ahead of what was heard, so that some of it is made while the path is cut.
      const numbers = Array.from({ length: 30 }, (_, at) => at + 1)
      const composer = page.getByRole('textbox', { name: 'Message' })
      await composer.fill(numbers.map((number) => `This is sentence ${number} of them.`).join(' '))
      await composer.press('Enter')
      const played = async () => Number(await page.getByTestId('state').getAttribute('data-played'))
      await expect.poll(played, { timeout: 15_000 }).toBeGreaterThan(1_500)
      const answer = page.getByTestId('message-assistant')
      expect(await answer.getAttribute('data-status')).toBe('streaming')
      const before = { played: await played(), samples: sound.samples() }
      await cut(page)
      await expect.poll(() => answer.getAttribute('data-status'), { timeout: 60_000 }).toBe('completed')
      // Every sentence of it, once; and its sound without a gap and nothing twice.
      const text = (await answer.getByTestId('text').textContent()) ?? ''
      expect([...text.matchAll(/sentence (\d+)/g)].map(([, number]) => Number(number))).toEqual(numbers)
      expect(await answer.count()).toBe(1)
      expect(sound.sessions()).toHaveLength(1)
      expect(sound.gaps()).toEqual([])
      expect(sound.samples()).toBeGreaterThan(before.samples)
      // What was heard before the cut goes on to be heard after it.
      await expect.poll(played, { timeout: 30_000 }).toBeGreaterThan(before.played + 15_000)
    }))
})

/** The binary frames that the page has been sent, over all of its connections, and the sessions that it had. */
function watchSound(page: Page) {
  const gaps: string[] = []
  const sessions: string[] = []
  let next = 0
  page.on('websocket', (socket) =>
    socket.on('framereceived', ({ payload }) => {
      if (typeof payload === 'string') {
        const event = JSON.parse(payload)
        if (event.type === 'session.created') sessions.push(event.session.id)
        return
      }
      const frame = decodeFrame(payload)
      if ('samples' in frame) {
        if (frame.offset !== next) gaps.push(`${frame.offset} after ${next}`)
        next = frame.offset + frame.samples.length
      } else gaps.push('no frame')
    }),
  )
  return { gaps: () => gaps, sessions: () => sessions, samples: () => next }
}

/** The switch keeps its place from visit to visit; the microphone wants a touch each time. */
async function talkHandsFree(page: Page): Promise<void> {
  const on = (await page.getByTestId('hands-free').getAttribute('aria-checked')) === 'true'
  await page.getByTestId(on ? 'talk' : 'hands-free').click()
}

/** Nothing of WireGuard gets in or out. */
async function drop(host: Host): Promise<void> {
  await host.run('nft', 'add', 'table', 'inet', 'cut')
  for (const hook of ['input', 'output']) {
    await host.run('nft', 'add', 'chain', 'inet', 'cut', hook, `{ type filter hook ${hook} priority -10; }`)
    await host.run('nft', 'add', 'rule', 'inet', 'cut', hook, 'meta', 'l4proto', 'udp', 'drop')
  }
}

async function passAgain(host: Host): Promise<void> {
  await host.run('nft', 'delete', 'table', 'inet', 'cut')
}
