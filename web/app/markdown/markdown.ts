/**
 * What models write, as HTML: Markdown without HTML of its own, so that nothing in it is markup of theirs. Nothing
 * is loaded by it: a picture is shown as a link to it.
 */
import MarkdownItClass, { type MarkdownIt } from 'markdown-it'
import { showUnfinished } from './unfinished'

export interface Labels {
  readonly copy: string
  readonly code: string
  readonly table: string
  readonly picture: string
  readonly done: string
  readonly open: string
}

/**
 * Colours code, as HTML; undefined for as it is.
 * @param finished whether no more of it is to come
 */
export type Highlight = (code: string, language: string, finished: boolean) => string | undefined

/** Where a link may lead: out of here by the person's own click, and never to a script. */
const schemes = /^(https?|mailto):/i

export function createMarkdown(labels: Labels, highlight: Highlight): MarkdownIt {
  const markdown = new MarkdownItClass({ html: false, linkify: true, breaks: true })
  const { escapeHtml } = markdown.utils
  const { rules } = markdown.renderer
  markdown.validateLink = (url) => schemes.test(url.trim())
  // Without a scheme it may be a file: main.rs, README.md.
  markdown.linkify.set({ fuzzyLink: false })

  rules.link_open = (tokens, index, options, _, renderer) => {
    const token = tokens[index]!
    token.attrSet('target', '_blank')
    token.attrSet('rel', 'noopener noreferrer nofollow')
    return renderer.renderToken(tokens, index, options)
  }
  rules.image = (tokens, index) => {
    const { content } = tokens[index]!
    const url = escapeHtml(String(tokens[index]!.attrGet('src')))
    return `<a href="${url}" target="_blank" rel="noopener noreferrer nofollow">${labels.picture}: ${escapeHtml(content) || url}</a>`
  }
  // Below the page's own, and none left out, however a model begins; they look as it meant them.
  rules.heading_open = (tokens, index, _, env = {}) => {
    const wanted = Number(tokens[index]!.tag.slice(1))
    const before = typeof env.level === 'number' ? env.level : 1
    const level = Math.min(6, wanted + 1, before + 1)
    env.level = level
    return `<h${level} data-level="${wanted}">`
  }
  rules.heading_close = (_, __, ___, env = {}) => `</h${String(env.level)}>\n`
  rules.table_open = () =>
    `<div class="table" role="region" tabindex="0" aria-label="${escapeHtml(labels.table)}"><table>\n`
  rules.table_close = () => '</table></div>\n'
  rules.fence = (tokens, index, _, env) => {
    const { content, info } = tokens[index]!
    const [language = ''] = info.trim().split(/\s+/)
    return codeBlock(content, language, env?.lastFence !== tokens[index])
  }
  rules.code_block = (tokens, index) => codeBlock(tokens[index]!.content, '', true)

  function codeBlock(code: string, language: string, finished: boolean): string {
    const coloured = highlight(code, language, finished) ?? escapeHtml(code)
    return `<div class="code" data-testid="code"><div class="code-head"><span>${escapeHtml(language || labels.code)}</span><button type="button" data-copy>${escapeHtml(labels.copy)}</button></div><pre tabindex="0"><code>${coloured}</code></pre></div>\n`
  }

  markdown.core.ruler.after('inline', 'tasks', ({ tokens, Token }) => {
    for (const [index, token] of tokens.entries()) {
      const [list, paragraph] = [tokens[index - 2], tokens[index - 1]]
      if (token.type !== 'inline' || list?.type !== 'list_item_open' || paragraph?.type !== 'paragraph_open')
        continue
      const [first] = token.children ?? []
      const [box, mark] = /^\[([ xX])\] /.exec(first?.content ?? '') ?? []
      if (!first || box === undefined) continue
      first.content = first.content.slice(box.length)
      list.attrJoin('class', 'task')
      const done = mark !== ' '
      const sign = new Token('html_inline', '', 0)
      sign.content = `<span class="box" role="img" aria-label="${escapeHtml(done ? labels.done : labels.open)}"${done ? ' data-done' : ''}></span>`
      token.children?.unshift(sign)
    }
  })
  markdown.use(showUnfinished)
  return markdown
}
