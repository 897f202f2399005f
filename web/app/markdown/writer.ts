/** Turns a text that grows into HTML, block by block: what is closed is never looked at again. */
import type { MarkdownIt, Token } from 'markdown-it'
import { isTableHead, withoutBeginnings } from './unfinished'

export interface Writer {
  /**
   * The HTML of each block of the text so far. Blocks that are closed are the same strings each time.
   * @param finished whether no more of it is to come
   */
  write(text: string, finished: boolean): readonly string[]
}

export function createWriter(markdown: MarkdownIt): Writer {
  let read = ''
  let closed: string[] = []
  let env: Record<string, unknown> = {}
  const begin = (): void => {
    read = ''
    closed = []
    env = {}
  }
  /** What may be rendered again leaves nothing behind. */
  const htmlOf = (open: readonly Block[]): string[] => {
    const { level } = env
    const rendered = open.map(html)
    env.level = level
    return rendered
  }
  const html = ({ tokens }: Block): string => markdown.renderer.render(tokens, markdown.options, env)
  const readOn = (text: string): string[] => {
    const rest = text.slice(read.length)
    const blocks = blocksOf(markdown.parse(withoutBeginnings(rest), env))
    const sure = sureOf(blocks, rest)
    closed.push(...blocks.slice(0, sure).map(html))
    read += rest.slice(0, offsetOf(rest, blocks[sure]?.line ?? 0))
    const open = blocks.slice(sure)
    if (isTableHead(rest.slice(offsetOf(rest, open.at(-1)?.line ?? 0)))) open.pop()
    return [...closed, ...htmlOf(open)]
  }
  const readAll = (text: string): string[] => {
    const blocks = blocksOf(markdown.parse(text.slice(read.length), env))
    if (!('references' in env) || read === '') return [...closed, ...htmlOf(blocks)]
    // What was before it may mean something else now.
    begin()
    return readAll(text)
  }
  return {
    write(text, finished) {
      if (!text.startsWith(read)) begin()
      env.unfinished = !finished
      return finished ? readAll(text) : readOn(text)
    },
  }
}

interface Block {
  /** Its first one. */
  readonly line: number
  readonly tokens: Token[]
}

function blocksOf(tokens: readonly Token[]): Block[] {
  const blocks: Block[] = []
  for (const token of tokens) {
    if (token.level === 0 && token.nesting >= 0) blocks.push({ line: token.map?.[0] ?? 0, tokens: [] })
    blocks.at(-1)?.tokens.push(token)
  }
  return blocks
}

/** How many of the blocks can't change any more: another one follows, whose first line is whole. */
function sureOf(blocks: readonly Block[], text: string): number {
  const whole = text.split('\n').length - 1
  return Math.max(
    0,
    blocks.findLastIndex(({ line }) => line < whole),
  )
}

function offsetOf(text: string, line: number): number {
  let at = 0
  for (let count = 0; count < line; count += 1) {
    const next = text.indexOf('\n', at)
    if (next === -1) return text.length
    at = next + 1
  }
  return at
}
