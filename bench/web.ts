/**
 * What the page costs who opens it: a real gateway with stand-ins for its engines, real Chromium as a phone on a slow
 * network. The processor is slowed by a factor, so that the figures are this machine's, times that factor.
 */
import { request } from 'node:https'
import { join } from 'node:path'
import type { CDPSession, Page } from 'playwright-core'
import { openBrowser } from '#test/lab/browser.ts'
import { haveConversation } from '#test/lab/conversation.ts'
import { sotto, startGateway, startStandIn, temporaryDirectory } from '#test/lab/gateway.ts'
import { median, met, type Bench } from './report.ts'

const rounds = Number(process.env.SOTTO_BENCH_ROUNDS ?? 3)
/** While this bench is worked on: some of it alone, by name. */
const only = (name: string): boolean => (process.env.SOTTO_BENCH_ONLY ?? name).split(',').includes(name)
const long = 5_000
const slowdown = 4

/** As Lighthouse has them for mobile: `throttling.mobileSlow4G` in its `core/config/constants.js`. */
const phone = {
  viewport: { width: 412, height: 823 },
  deviceScaleFactor: 1.75,
  isMobile: true,
  hasTouch: true,
}
const slow4G = {
  offline: false,
  latency: 150 * 3.75,
  downloadThroughput: (1.6 * 1024 * 1024 * 0.9) / 8,
  uploadThroughput: (750 * 1024 * 0.9) / 8,
}
const unthrottled = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 }

/** Good, by web.dev/articles/lcp and web.dev/articles/inp. */
const goodPaintMs = 2_500
const goodInteractionMs = 200
const mostScriptBytes = 250 * 1024
/** By which the browser itself calls a task long. */
const longTaskMs = 50

type Report = Parameters<Bench>[0]

interface Place {
  readonly origin: string
  readonly ca: string
  readonly folder: string
}

export const web: Bench = async (report) => {
  const folder = await temporaryDirectory()
  const ollama = await startStandIn(undefined, 'ollama')
  const whisper = await startStandIn(undefined, 'whisper')
  const state = join(folder.path, 'state')
  const engines = ['--ollama', ollama.url, '--whisper', whisper.url]
  const gateway = await startGateway(undefined, state, '--loopback', '--port', '0', ...engines)
  try {
    await sotto('limit', 'tenant:home', '--state', state, '--tokens-per-month', '100000000000000')
    const origin = gateway.origins.find((one) => one.includes('127.0.0.1')) ?? ''
    const place = { origin, ca: join(state, 'certs', 'root.crt'), folder: folder.path }
    if (only('first')) await firstView(place, report)
    if (only('long')) await longConversation(place, report)
  } finally {
    for (const stop of [gateway.stop, ollama.stop, whisper.stop]) await stop()
    await folder.remove()
  }
}

/** A phone that was never here. */
async function visit<T>(
  { ca, folder }: Place,
  task: (page: Page, control: CDPSession) => Promise<T>,
): Promise<T> {
  visits += 1
  const context = await openBrowser(undefined, { ca, directory: join(folder, `phone-${visits}`), ...phone })
  try {
    const page = context.pages()[0] ?? (await context.newPage())
    const control = await context.newCDPSession(page)
    await page.addInitScript(watch)
    return await task(page, control)
  } finally {
    await context.close()
  }
}
let visits = 0

/** In the browser: what it saw that was slow. */
const watch = `
  window.seen = { paint: 0, tasks: [], events: [] }
  const observe = (type, take, options) =>
    new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({ type, buffered: true, ...options })
  observe('largest-contentful-paint', (entry) => (seen.paint = entry.startTime))
  observe('longtask', (entry) => seen.tasks.push(entry.duration))
  observe('event', (entry) => entry.interactionId && seen.events.push(entry.duration), { durationThreshold: 16 })
`

async function throttle(control: CDPSession, factor: number): Promise<void> {
  await control.send('Emulation.setCPUThrottlingRate', { rate: factor })
  await control.send('Network.enable')
  await control.send('Network.emulateNetworkConditions', factor > 1 ? slow4G : unthrottled)
}

/** Headless, a frame is presented to who looks at it alone; until then what was typed counts as not shown. */
async function present(control: CDPSession): Promise<void> {
  control.on('Page.screencastFrame', ({ sessionId }) => {
    control.send('Page.screencastFrameAck', { sessionId }).catch(() => {})
  })
  await control.send('Page.startScreencast', { format: 'jpeg', quality: 1, maxWidth: 64, maxHeight: 128 })
}

async function open(page: Page, address: string): Promise<void> {
  await page.goto(address)
  await page.waitForSelector('[data-testid=connection][data-state=open]', {
    state: 'attached',
    timeout: 60_000,
  })
}

async function firstView(place: Place, report: Report): Promise<void> {
  const looks: Awaited<ReturnType<typeof firstLook>>[] = []
  for (let round = 0; round < rounds; round += 1) looks.push(await visit(place, firstLook))
  const scripts = looks[0]?.scripts ?? []
  const gzipped = await Promise.all(scripts.map((url) => bytesOf(url, 'gzip')))
  const brotli = await Promise.all(scripts.map((url) => bytesOf(url, 'br')))
  const bytes = sum(gzipped)
  report({
    what: 'JavaScript of the first view, gzipped',
    figure: `${kibibytes(bytes)} in ${scripts.length} files`,
    beside: `as Chromium takes it, with Brotli, ${kibibytes(sum(brotli))}`,
    target: `at most 250 KB: ${met(bytes <= mostScriptBytes)}`,
  })
  const paint = median(looks.map((look) => look.paint))
  report({
    what: `largest contentful paint, slow 4G, processor ÷ ${slowdown}`,
    figure: `${(paint / 1_000).toFixed(2)} s`,
    beside: `again, with what the browser keeps, ${(median(looks.map((look) => look.again)) / 1_000).toFixed(2)} s`,
    target: `at most ${goodPaintMs / 1_000} s: ${met(paint <= goodPaintMs)}`,
    chart: {
      unit: 'ms',
      bars: { first: paint, again: median(looks.map((look) => look.again)) },
      limit: goodPaintMs,
    },
  })
  report({
    what: `connected and ready to talk, slow 4G, processor ÷ ${slowdown}`,
    figure: `${(median(looks.map(({ usable }) => usable)) / 1_000).toFixed(2)} s`,
  })
  const worst = median(looks.map((look) => look.interaction))
  report({
    what: `slowest of typing, tapping, opening a menu, processor ÷ ${slowdown}`,
    figure: `${worst.toFixed(0)} ms`,
    target: `at most ${goodInteractionMs} ms: ${met(worst <= goodInteractionMs)}`,
  })

  async function firstLook(page: Page, control: CDPSession) {
    const asked = new Set<string>()
    page.on('response', (response) => {
      if (new URL(response.url()).pathname.endsWith('.js')) asked.add(response.url())
    })
    await throttle(control, slowdown)
    await open(page, place.origin)
    const usable = await page.evaluate<number>('performance.now()')
    await page.waitForTimeout(3_000)
    const loaded = [...asked]
    const first = await paintOf(page)
    await present(control)
    await forget(page)
    const composer = page.getByRole('textbox', { name: 'Message' })
    await composer.pressSequentially('How do I bake bread?', { delay: 60 })
    await page.getByTestId('starter').first().tap()
    await page.getByTestId('model').tap()
    await page.waitForTimeout(2_000)
    const interaction = Math.max(0, ...(await page.evaluate<number[]>('seen.events')))
    await open(page, place.origin)
    await page.waitForTimeout(1_000)
    return { scripts: loaded, paint: first, usable, again: await paintOf(page), interaction }
  }
}

async function longConversation(place: Place, report: Report): Promise<void> {
  for (const factor of [1, slowdown]) {
    const slowed = factor === 1 ? '' : `, processor ÷ ${factor}`
    const looks: Awaited<ReturnType<typeof read>>[] = []
    for (let round = 0; round < rounds; round += 1)
      looks.push(await visit(place, (page, control) => read(page, control, factor)))
    const worst = (of: (look: (typeof looks)[number]) => number) => Math.max(...looks.map(of))
    report({
      what: `${long} messages: open at the end${slowed}`,
      figure: `${(median(looks.map(({ opened }) => opened)) / 1_000).toFixed(2)} s`,
    })
    for (const [what, task] of [
      ['scroll through to the first', worst(({ scrolling }) => scrolling)],
      ['stream an answer of 1,000 tokens', worst(({ streaming }) => streaming)],
    ] as const)
      report({
        what: `${long} messages: longest task, ${what}${slowed}`,
        figure: task === 0 ? `none over ${longTaskMs} ms` : `${task.toFixed(0)} ms`,
        target: `at most ${longTaskMs} ms: ${met(task <= longTaskMs)}`,
      })
  }

  async function read(page: Page, control: CDPSession, factor: number) {
    await open(page, place.origin)
    // Of its own, since it is gone on with.
    const id = await haveConversation(page, messages)
    await throttle(control, factor)
    const start = performance.now()
    await page.goto(`${place.origin}/c/${id}`)
    const log = page.getByRole('log')
    await log.getByText(`Message ${long - 1}.`).waitFor({ timeout: 120_000 })
    const opened = performance.now() - start
    // What loading the page itself takes is the first view's.
    await page.waitForTimeout(2_000)
    // The network is no part of it, and would only make it last.
    await control.send('Network.emulateNetworkConditions', unthrottled)
    await forget(page)
    await page.mouse.move(200, 300)
    // Some 20,000 pixels a second: faster than a finger.
    for (;;) {
      await page.mouse.wheel(0, -600)
      await page.waitForTimeout(30)
      if ((await log.getByText('Message 0.', { exact: false }).count()) > 0) break
    }
    const scrolling = await longestTask(page)
    await page.getByTestId('to-end').tap()
    await page.waitForTimeout(1_000)
    const composer = page.getByRole('textbox', { name: 'Message' })
    await composer.fill(`Say after me: ${answer}`)
    await page.getByTestId('send').tap()
    await page.getByTestId('stop').waitFor()
    // What was typed is as long as the answer, and is drawn once.
    await page.waitForTimeout(500)
    await forget(page)
    await page.getByTestId('stop').waitFor({ state: 'detached', timeout: 120_000 })
    return { opened, scrolling, streaming: await longestTask(page) }
  }
}

const paragraph =
  'Bread is **mostly patience**: flour, water, salt and `time`. See [the book](https://example.org/bread), and *wait*.'
const code = '```ts\nexport const water = (flour: number): number => Math.round(flour * 0.7)\n```'
const list = '1. Mix\n2. Wait\n   - an hour in summer\n   - two in winter\n3. Bake'

const messages = Array.from({ length: long }, (_, at) => {
  const parts =
    at % 2 === 0 ? [] : [paragraph, ...(at % 3 === 0 ? [list] : []), ...(at % 5 === 0 ? [code] : [])]
  return [`Message ${at}. ${'It goes on. '.repeat((at * 7) % 30)}`, ...parts].join('\n\n')
})

const answer = Array.from({ length: 25 }, (_, at) =>
  [`## Part ${at + 1}`, paragraph, list, ...(at % 4 === 0 ? [code] : [])].join('\n\n'),
).join('\n\n')

const forget = (page: Page) => page.evaluate('void Object.assign(seen, { tasks: [], events: [] })')
const paintOf = (page: Page) => page.evaluate<number>('seen.paint')
const longestTask = (page: Page) => page.evaluate<number>('Math.max(0, ...seen.tasks)')

const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0)
const kibibytes = (bytes: number): string => `${(bytes / 1024).toFixed(0)} KB`

/** Of a file, as the gateway sends it to who takes that encoding. */
function bytesOf(url: string, encoding: string): Promise<number> {
  return new Promise((settle, fail) => {
    const options = { headers: { 'accept-encoding': encoding }, rejectUnauthorized: false }
    const asking = request(url, options, (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => (bytes += chunk.length))
      response.on('end', () => settle(bytes))
    })
    asking.on('error', fail)
    asking.end()
  })
}
