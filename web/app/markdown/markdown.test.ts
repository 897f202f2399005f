import { describe, expect, it } from 'vitest'
import { createMarkdown } from './markdown.ts'
import { createWriter } from './writer.ts'

const labels = { copy: 'Copy', code: 'Code', table: 'Table', picture: 'Picture', done: 'Done', open: 'Open' }
const markdown = createMarkdown(labels, () => undefined)
const whole = (text: string): string => createWriter(markdown).write(text, true).join('')

describe('Markdown', () => {
  it('has no markup of its own, and no link that runs anything', () => {
    const html = whole(
      '<img src=x onerror=alert(1)> <script>alert(1)</script>\n\n[a](javascript:alert(1)) [b](data:text/html,x) [c](/devices) [d](https://sotto.example "t")',
    )
    expect(html).not.toMatch(/<(img|script)/)
    expect(html.match(/href="[^"]*"/g)).toEqual(['href="https://sotto.example"'])
    expect(html).toContain('rel="noopener noreferrer nofollow"')
  })

  it('loads no picture: it links to it', () => {
    const html = whole('![a cat](https://elsewhere.example/cat.png) ![x](data:image/png;base64,AA==)')
    expect(html).not.toContain('<img')
    expect(html).toContain('<a href="https://elsewhere.example/cat.png"')
    expect(html).toContain('Picture: a cat')
  })

  it('takes names of files for words', () => {
    expect(whole('See main.rs and https://sotto.example.')).toMatch(
      /See main\.rs and <a href="https:\/\/sotto\.example"/,
    )
  })

  it('shows tasks, tables and headings below those of the page', () => {
    expect(whole('# One\n\n- [x] done\n- [ ] not')).toMatch(
      /<h2 data-level="1">One<\/h2>[\s\S]*<li class="task"><span class="box" role="img" aria-label="Done" data-done><\/span>done<\/li>[\s\S]*aria-label="Open"><\/span>not/,
    )
    expect(whole('| a | b |\n|---|---|\n| 1 | 2 |')).toMatch(
      /<div class="table"[^>]*><table>[\s\S]*<td>2<\/td>/,
    )
  })

  it('leaves no level of headings out, however a model begins', () => {
    const levels = [...whole('### One\n\n##### Two\n\n## Three\n\ntext').matchAll(/<h(\d)/g)]
    expect(levels.map(([, level]) => level)).toEqual(['2', '3', '3'])
  })

  it('gives code its language and a way to copy it', () => {
    expect(whole('```ts\nconst a = "<b>"\n```')).toMatch(
      /<span>ts<\/span><button type="button" data-copy>Copy<\/button>[\s\S]*const a = &quot;&lt;b&gt;&quot;/,
    )
  })
})

const sample = `# Bread

It is **easy**, *really*, with \`flour\` and ~~sugar~~ [salt](https://salt.example/a_b).
Two lines of it, 2*3 cups, in snake_case_names.

1. Mix

2. Wait
   - an hour
   - **or two**

> Quoted **words**
> and more

| what | how much |
|------|---------:|
| flour | 500 g |

\`\`\`python
def bake(loaf):
    return loaf ** 2

\`\`\`

- [x] bought
- [ ] baked

Setext is no heading here
- a list

The end, with \`code\`.
`

describe('Markdown that is being written', () => {
  it('ends as it would be written at once, however it is cut', () => {
    const expected = createWriter(markdown).write(sample, true)
    for (const size of [1, 2, 3, 5, 7, 13, 64]) {
      const writer = createWriter(markdown)
      for (let end = size; end < sample.length; end += size) writer.write(sample.slice(0, end), false)
      expect(writer.write(sample, true), `${size} at a time`).toEqual(expected)
    }
  })

  it('never takes back what it showed: no sign of markup, and no block that becomes another one', () => {
    const writer = createWriter(markdown)
    let before: readonly string[] = []
    for (let end = 1; end <= sample.length; end += 1) {
      const html = writer.write(sample.slice(0, end), false)
      const shown = html
        .join('')
        .replaceAll(/<pre[\s\S]*?<\/pre>/g, '')
        .replaceAll(/<[^>]*>/g, '')
      expect(shown.replace('2*3', '').replaceAll('snake_case_names', ''), `after ${end}`).not.toMatch(
        /[*`~|]|\]\(/,
      )
      expect(html.length).toBeGreaterThanOrEqual(before.length)
      for (const [index, block] of before.slice(0, -1).entries())
        expect(tagOf(html[index]), `block ${index} after ${end}`).toBe(tagOf(block))
      before = html
    }
  })

  it('reads what is closed no more', () => {
    let parsed = 0
    const counting = createMarkdown(labels, () => undefined)
    const { parse } = counting
    counting.parse = (text, env) => {
      parsed += text.length
      return parse.call(counting, text, env)
    }
    const writer = createWriter(counting)
    const long = 'A paragraph of some words.\n\n'.repeat(500)
    for (let end = 10; end < long.length; end += 10) writer.write(long.slice(0, end), false)
    // 1,400 pieces of a text of 14,000 characters: anew each time, that were ten million.
    expect(parsed).toBeLessThan(1_400 * 100)
  })

  it('knows a link whose address is said at the end', () => {
    const writer = createWriter(markdown)
    writer.write('See [there][1].\n\nMore.\n\n', false)
    expect(writer.write('See [there][1].\n\nMore.\n\n[1]: https://there.example\n', true).join('')).toContain(
      'href="https://there.example"',
    )
  })
})

function tagOf(html = ''): string | undefined {
  return /^<(\w+)/.exec(html)?.[1]
}
