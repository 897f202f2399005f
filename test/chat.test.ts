import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { PNG } from 'pngjs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { violations } from './lab/axe.ts'
import { haveConversation } from './lab/conversation.ts'
import { startStandIn } from './lab/gateway.ts'
import { createHome, output, type Engine, type Home } from './lab/home.ts'

const phone = { viewport: { width: 390, height: 844 }, hasTouch: true }
const desktop = { viewport: { width: 1280, height: 800 } }
const light = { colorScheme: 'light' } as const
const dark = { colorScheme: 'dark' } as const

const bread = `# Bread for two days

You need **flour**, *water* and \`salt\`, and [patience](https://elsewhere.example/bread).

1. Mix
2. Wait
   - an hour in summer
   - two in winter

- [x] flour bought
- [ ] starter fed

> The crust is the baker's signature.

| Flour | Water | Salt | Time | Oven | Remark |
|---|---:|---:|---|---|---|
| 500 g | 350 g | 10 g | 24 h | 230 °C | steam at first |
| 1 kg | 700 g | 20 g | 24 h | 240 °C | in two loaves |

\`\`\`typescript
export function water(flour: number, ratio = 0.7): number {
  // As bakers count it.
  return Math.round(flour * ratio)
}
\`\`\`

And this is how it looks: ![a loaf](https://elsewhere.example/loaf.png)`

describe('a conversation on the page', () => {
  let home: Home<Engine>

  beforeAll(async () => {
    home = await createHome((hub) => startStandIn(hub, 'ollama', 0, 'thinker:latest'))
  })
  afterAll(() => home.close())

  for (const [name, viewport] of [
    ['phone', phone],
    ['desktop', desktop],
  ] as const)
    for (const [scheme, colours] of [
      ['light', light],
      ['dark', dark],
    ] as const)
      it(`shows what a model writes as it means it, and asks nobody else for anything: ${name}, ${scheme}`, () =>
        home.visit({ ...viewport, ...colours }, async (page, requests) => {
          await poll(() => page.getByTestId('starter').count()).toBe(4)
          await page.screenshot({ path: join(output, `chat-start-${name}-${scheme}.png`) })
          await expectAccessible(page)
          await say(page, `Say after me: ${bread}`)
          await answered(page, 1)
          const answer = page.getByTestId('message-assistant').getByTestId('text')
          expect(await answer.locator('h2').textContent()).toBe('Bread for two days')
          expect(await answer.locator('li.task').count()).toBe(2)
          expect(await answer.locator('td').count()).toBe(12)
          expect(await answer.locator('.hljs-keyword').first().textContent()).toBe('export')
          expect(await answer.locator('img').count()).toBe(0)
          expect(
            await answer.locator('a').evaluateAll((links) => links.map(({ href, rel }) => [href, rel])),
          ).toEqual([
            ['https://elsewhere.example/bread', 'noopener noreferrer nofollow'],
            ['https://elsewhere.example/loaf.png', 'noopener noreferrer nofollow'],
          ])
          await page.screenshot({ path: join(output, `chat-${name}-${scheme}.png`) })
          await expectAccessible(page)
          const [origin = ''] = home.gateway.origins
          const elsewhere = requests.filter(
            (url) =>
              url.host !== new URL(origin).host && url.protocol !== 'blob:' && url.protocol !== 'data:',
          )
          expect(elsewhere.map(String)).toEqual([])
        }))

  it('copies code and answers', () =>
    home.visit({ ...desktop, permissions: ['clipboard-read', 'clipboard-write'] }, async (page) => {
      await say(page, `Say after me: ${bread}`)
      await answered(page, 1)
      await page.getByRole('button', { name: 'Copy', exact: true }).and(page.locator('[data-copy]')).click()
      const copied = () => page.evaluate('navigator.clipboard.readText()')
      await poll(copied).toMatch(/^export function water[\s\S]*\}\n$/)
      await page.getByTestId('message-assistant').getByTestId('copy').click()
      await poll(copied).toBe(bread)
    }))

  it('keeps every version of an answer and of a question, and goes from one to another', () =>
    home.visit({ ...desktop, ...light }, async (page) => {
      await say(page, 'One apple')
      await answered(page, 1)
      const first = page.url()
      expect(first).toMatch(/\/c\/conv_/)
      await say(page, 'Two pears')
      await answered(page, 2)
      await page.getByTestId('message-assistant').last().getByTestId('retry').click()
      const versions = page.getByTestId('versions')
      await poll(() => versions.allTextContents()).toEqual(['2 / 2'])
      await poll(() => said(page)).toEqual([
        'One apple',
        answerTo('One apple'),
        'Two pears',
        answerTo('Two pears'),
      ])

      const question = page.getByTestId('message-user').first()
      await question.hover()
      await question.getByTestId('edit').click()
      await page.getByTestId('editor').fill('Three plums')
      await page.mouse.move(0, 0)
      await page.screenshot({ path: join(output, 'chat-edit.png') })
      await expectAccessible(page)
      await page.getByTestId('editor').press('Enter')
      await poll(() => said(page)).toEqual(['Three plums', answerTo('Three plums')])
      await poll(() => versions.allTextContents()).toEqual(['2 / 2'])
      await page.getByRole('button', { name: 'Previous version' }).click()
      await poll(() => said(page)).toHaveLength(4)
      await page.screenshot({ path: join(output, 'chat-versions.png') })

      // They are the gateway's, not the page's.
      await page.reload()
      await poll(() => versions.allTextContents()).toEqual(['1 / 2', '2 / 2'])
      await versions.last().getByRole('button', { name: 'Previous version' }).click()
      await poll(() => page.url()).toBe(first)

      const answer = page.getByTestId('message-assistant').first()
      await answer.hover()
      await answer.getByTestId('branch').click()
      await poll(() => said(page)).toEqual(['One apple', answerTo('One apple')])
      await say(page, 'Four figs')
      await poll(() => said(page)).toEqual([
        'One apple',
        answerTo('One apple'),
        'Four figs',
        answerTo('Four figs'),
      ])
      // Back is another page, not another version: those took its place.
      await page.goto(first)
      await poll(() => said(page)).toEqual([
        'One apple',
        answerTo('One apple'),
        'Two pears',
        answerTo('Two pears'),
      ])
    }))

  it('sends pictures and text files, smaller where they are large, and refuses what it can’t', () =>
    home.visit({ ...phone, ...dark }, async (page) => {
      const picker = page.getByTestId('picker')
      await picker.setInputFiles([
        { name: 'garden.png', mimeType: 'image/png', buffer: picture(3_000, 1_500) },
        { name: 'recipe.md', mimeType: 'text/markdown', buffer: Buffer.from('Flour, water, salt.') },
        { name: 'program', mimeType: '', buffer: Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0xff, 0xfe]) },
      ])
      const attached = page.getByTestId('attached')
      await poll(() => attached.count()).toBe(2)
      await poll(() => page.getByTestId('complaint').textContent()).toContain('“program” is no text')
      await page.screenshot({ path: join(output, 'chat-attach.png') })
      await expectAccessible(page)
      await say(page, 'What is this?')
      await answered(page, 1)
      const [answer = ''] = await page.getByTestId('message-assistant').getByTestId('text').allTextContents()
      expect(answer).toContain('Flour, water, salt.')
      expect(answer).toContain('recipe.md')
      // 3,000 × 1,500 is more than any model looks at.
      expect(answer).toMatch(/You showed 2048 by 1024 in \d+ bytes/)
      expect(await attached.count()).toBe(0)

      // What another device sees, which has them from the gateway.
      await page.reload()
      const shown = page.getByTestId('picture')
      await poll(() =>
        shown.locator('img').evaluate((image) => 'naturalWidth' in image && image.naturalWidth),
      ).toBe(2_048)
      await page.screenshot({ path: join(output, 'chat-attached.png') })
      await shown.click()
      const dialog = page.getByRole('dialog')
      await poll(() => dialog.locator('img').isVisible()).toBe(true)
      await page.screenshot({ path: join(output, 'chat-picture.png') })
      await page.keyboard.press('Escape')
      await page.getByTestId('file').click()
      await poll(() => dialog.textContent()).toContain('Flour, water, salt.')
      await page.keyboard.press('Escape')

      await choose(page, 'thinker:latest')
      await picker.setInputFiles({ name: 'dot.png', mimeType: 'image/png', buffer: picture(8, 8) })
      await poll(() => page.getByTestId('complaint').textContent()).toContain(
        'thinker:latest can’t see pictures',
      )
      expect(await page.getByTestId('send').isDisabled()).toBe(true)
      await page.getByRole('button', { name: 'Remove' }).click()
      await poll(() => page.getByTestId('complaint').count()).toBe(0)
    }))

  it('folds away what a model thinks, and lets it think or not', () =>
    home.visit({ ...desktop, ...dark }, async (page) => {
      await choose(page, 'thinker:latest')
      // So long that one sees it think.
      const question = `How many words are these? ${'one more '.repeat(60)}`.trim()
      await say(page, question)
      const reasoning = page.getByTestId('reasoning')
      await poll(() => reasoning.textContent()).toContain('Thinking…')
      await answered(page, 1)
      expect(await reasoning.textContent()).toMatch(/Thought for \d+ second/)
      expect(await page.getByTestId('message-assistant').textContent()).not.toContain('They said')
      await reasoning.getByRole('button').click()
      await poll(() => reasoning.textContent()).toContain(`They said “${question}”.`)
      await page.screenshot({ path: join(output, 'chat-reasoning.png') })
      await expectAccessible(page)

      await page.getByTestId('conversation-settings').click()
      await page.getByTestId('instructions').fill('You are a lighthouse keeper.')
      await page.getByTestId('thinking').click()
      await page.screenshot({ path: join(output, 'chat-settings.png') })
      await expectAccessible(page)
      await page.getByTestId('save-settings').click()
      await say(page, 'And now?')
      await answered(page, 2)
      expect(await reasoning.count()).toBe(1)

      // The conversation keeps its model and its prompt; another one has its own.
      await page.reload()
      await poll(() => page.getByTestId('model').textContent()).toContain('thinker:latest')
      await page.getByTestId('conversation-settings').click()
      await poll(() => page.getByTestId('instructions').inputValue()).toBe('You are a lighthouse keeper.')
      await page.keyboard.press('Escape')
      await page.getByTestId('new-chat').click()
      await poll(() => page.getByTestId('starter').count()).toBe(4)
      await page.getByTestId('conversation-settings').click()
      await poll(() => page.getByTestId('instructions').inputValue()).toBe('')
    }))

  it('keeps a draft where it was written, and fills in a starter', () =>
    home.visit(desktop, async (page) => {
      await say(page, 'Something to come back to')
      await answered(page, 1)
      const composer = page.getByRole('textbox', { name: 'Message' })
      await composer.fill('half a thou')
      const { pathname } = new URL(page.url())
      await page.getByTestId('new-chat').click()
      await poll(() => composer.inputValue()).toBe('')
      await page.getByTestId('starter').first().click()
      await poll(() => composer.inputValue()).toMatch(/^Explain to me/)
      await page.goto(new URL(pathname, page.url()).href)
      await poll(() => composer.inputValue()).toBe('half a thou')
      await page.goto(new URL('/', page.url()).href)
      await poll(() => composer.inputValue()).toMatch(/^Explain to me/)
    }))

  it('opens a long conversation at its end, brings the rest as one scrolls up, and stays where one reads', () =>
    home.visit({ ...phone, ...light }, async (page) => {
      const texts = Array.from(
        { length: 340 },
        (_, at) => `Message ${at}. ${'It goes on. '.repeat((at * 7) % 40)}`,
      )
      const id = await haveConversation(page, texts)
      await page.goto(new URL(`/c/${id}`, page.url()).href)
      const log = page.getByRole('log')
      const inView = (words: string) => () =>
        log
          .getByText(words, { exact: false })
          .first()
          .evaluate((element) => {
            const { top, bottom } = element.getBoundingClientRect()
            const view = element.closest('[role=log]')!.getBoundingClientRect()
            return bottom > view.top && top < view.bottom
          })
      await poll(inView('Message 339.')).toBe(true)
      // Of hundreds only those that are looked at are in the page.
      expect(await page.getByRole('article').count()).toBeLessThan(40)

      const top = () => log.evaluate((element) => element.scrollTop)
      // A wheel turn at a time; what one reads moves by just that, though more comes before it.
      await log.hover()
      let read: string | undefined
      for (let turn = 0; turn < 400; turn += 1) {
        await page.mouse.wheel(0, -1_200)
        await page.waitForTimeout(30)
        read = (await log.getByRole('article').first().textContent()) ?? ''
        if (read.includes('Message 0.') && (await top()) === 0) break
      }
      expect(read).toContain('Message 0.')
      await poll(inView('Message 0.')).toBe(true)

      // Who reads above is left there while something is answered below.
      const before = await top()
      await page.getByRole('textbox', { name: 'Message' }).fill('a draft')
      await page.getByTestId('to-end').click()
      await poll(inView('Message 339.')).toBe(true)
      expect(before).toBeLessThan(2_000)
      await say(page, Array.from({ length: 250 }, (_, at) => `word${at}`).join(' '))
      await poll(() => page.getByTestId('stop').count()).toBe(1)
      await page.mouse.wheel(0, -1_000)
      await poll(() => page.getByTestId('to-end').count()).toBe(1)
      const there = await top()
      await poll(() => page.getByTestId('stop').count()).toBe(0)
      expect(Math.abs((await top()) - there)).toBeLessThan(2)
      await page.screenshot({ path: join(output, 'chat-long.png') })
      await expectAccessible(page)
    }))

  it('says that a conversation is gone', () =>
    home.visit(desktop, async (page) => {
      await page.goto(new URL('/c/conv_nobodys', page.url()).href)
      await poll(() => page.getByTestId('gone').count()).toBe(1)
      await poll(() => new URL(page.url()).pathname).toBe('/')
      await say(page, 'Then another one')
      await answered(page, 1)
      expect(await page.getByTestId('gone').count()).toBe(0)
    }))
})

/** The machine may be busy. */
const poll = <T>(look: () => T | Promise<T>) => expect.poll(look, { timeout: 30_000 })

async function say(page: Page, words: string): Promise<void> {
  const composer = page.getByRole('textbox', { name: 'Message' })
  await composer.fill(words)
  await composer.press('Enter')
}

/** Waits until the last answer is whole, and the given number of them there. */
async function answered(page: Page, count?: number): Promise<void> {
  const answers = page.getByTestId('message-assistant')
  if (count !== undefined) await poll(() => answers.count()).toBe(count)
  await poll(() => page.getByTestId('stop').count()).toBe(0)
  await poll(() => answers.last().getAttribute('data-status')).toBe('completed')
}

async function said(page: Page): Promise<string[]> {
  const texts = await page.getByRole('article').getByTestId('text').allTextContents()
  return texts.map((text) => text.trim())
}

const answerTo = (words: string): string => `You said: ${words}. That is ${words.split(' ').length} words.`

async function choose(page: Page, model: string): Promise<void> {
  await page.getByTestId('model').click()
  await page.getByRole('option', { name: model }).click()
  await poll(() => page.getByRole('option').count()).toBe(0)
  await poll(() => page.getByTestId('model').textContent()).toContain(model)
}

async function expectAccessible(page: Page): Promise<void> {
  expect(await violations(page)).toEqual([])
}

/** All of one colour, so that it is small. */
function picture(width: number, height: number): Buffer {
  const png = new PNG({ width, height })
  png.data.fill(0x80)
  return PNG.sync.write(png)
}
