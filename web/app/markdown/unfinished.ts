/**
 * Text that is still being written, shown as if it were whole: what is begun and not ended yet (bold, code, a link)
 * looks at once as it will, so that nothing flickers.
 */
import type { MarkdownIt, StateCore, StateInline } from 'markdown-it'

/** Without what may only be the beginning of something: `-` of a list, `*` of an end, `|` of a table. */
export function withoutBeginnings(text: string): string {
  return text
    .replace(/(^|\n)(?:[-+*=_#>|: \t]+| {0,3}\d{1,9}[.)]? ?| {0,3}(?:`{3,}|~{3,})[^\n]*)$/, '$1')
    .replace(/[*_~`]+$/, '')
}

/** A table, of which only the head is there: it looks like words still. */
export function isTableHead(text: string): boolean {
  return /^\s*\|[^\n]*(?:\n[-|: \t]*)?\s*$/.test(text)
}

/** For `markdown.use`. It does nothing unless `env.unfinished`. */
export function showUnfinished(markdown: MarkdownIt): void {
  markdown.core.ruler.after('block', 'unfinished', markLast)
  markdown.inline.ruler.before('backticks', 'unfinished_code', endCode)
  markdown.inline.ruler.after('image', 'unfinished_link', endLink)
  markdown.inline.ruler2.after('balance_pairs', 'unfinished_emphasis', endEmphasis)
}

/** What may go on: the last text, or the last block of code. */
function markLast({ tokens, env }: StateCore): void {
  if (!env.unfinished) return
  const last = tokens.findLast(({ type }) => type === 'inline' || type === 'fence')
  env.last = last?.type === 'inline' ? last.content : undefined
  env.lastFence = last?.type === 'fence' ? last : undefined
}

function goesOn({ env, src }: StateInline): boolean {
  return env.last !== undefined && env.last === src
}

function endCode(state: StateInline, silent: boolean): boolean {
  if (!goesOn(state)) return false
  const rest = state.src.slice(state.pos, state.posMax)
  const [marker] = /^`+/.exec(rest) ?? []
  if (marker === undefined) return false
  const code = rest.slice(marker.length)
  if (new RegExp(`(?<!\`)${marker}(?!\`)`).test(code)) return false
  if (!silent) state.push('code_inline', 'code', 0).content = code.replace(/^ (?=.)/, '')
  state.pos = state.posMax
  return true
}

/** `[words](https://exam`: its words. */
function endLink(state: StateInline, silent: boolean): boolean {
  if (!goesOn(state)) return false
  const [, words] = /^!?\[([^[\]]*)(?:\]\([^()\s]*)?$/.exec(state.src.slice(state.pos, state.posMax)) ?? []
  if (words === undefined) return false
  if (!silent) state.push('text', '', 0).content = words
  state.pos = state.posMax
  return true
}

/** Ends what is open, the innermost first. */
function endEmphasis(state: StateInline): void {
  if (!goesOn(state)) return
  const { delimiters, tokens } = state
  const within = (index: number): boolean =>
    delimiters.some(({ end }, opener) => opener < index && end > index)
  const open = [...delimiters.keys()].filter((index) => {
    const { open: opens, end, token } = delimiters[index]!
    // In the midst of a word it is more likely a sign of its own: 2*3.
    return opens && end === -1 && !/[\p{L}\p{N}]$/u.test(tokens[token - 1]?.content ?? '') && !within(index)
  })
  for (const index of open.toReversed()) {
    const opener = delimiters[index]!
    state.push('text', '', 0).content = tokens[opener.token]!.content
    opener.end = delimiters.length
    delimiters.push({ ...opener, token: tokens.length - 1, end: -1, open: false, close: true })
  }
}
