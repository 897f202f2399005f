/** A conversation as people read it, in Markdown. Items of types to come are shown as they are stored. */
import { isRecord } from '#engines/json.ts'
import type { WholeConversation } from '#protocol/conversations.ts'

const speakers: Record<string, string> = { user: 'You', assistant: 'Assistant', system: 'System' }

/** Pictures are in it, as data URLs; what is said stays as it was written, Markdown too. */
export function toMarkdown({ title, createdAt, model, instructions, items }: WholeConversation): string {
  const about = [createdAt.slice(0, 10), ...(model === null ? [] : [model])].join(', ')
  const sections = [
    `# ${title.replaceAll(/\s+/g, ' ') || 'Conversation'}`,
    `*${about}*`,
    ...(instructions === '' ? [] : [quote(instructions)]),
    ...items.map(sectionOf),
  ]
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`
}

function sectionOf(item: object): string {
  const speaker = 'role' in item && typeof item.role === 'string' ? item.role : undefined
  if (speaker === undefined) return fence(JSON.stringify(item, undefined, 2), 'json')
  const parts = 'content' in item && Array.isArray(item.content) ? item.content.map(partOf) : []
  const said = parts.filter((part) => part !== '')
  return said.length === 0 ? '' : [`## ${speakers[speaker] ?? speaker}`, ...said].join('\n\n')
}

function partOf(part: unknown): string {
  if (!isRecord(part)) return ''
  const { text, transcript, image_url: image, x_name: file } = part
  if (typeof file === 'string' && typeof text === 'string') return `**${file}**\n\n${fence(text)}`
  for (const words of [text, transcript]) if (typeof words === 'string') return words.trim()
  return typeof image === 'string' && /^data:image\/[\w.+-]+;base64,[\w+/=]*$/.test(image)
    ? `![](${image})`
    : ''
}

function quote(text: string): string {
  return text.trim().replaceAll(/^/gm, '> ')
}

/** Longer than any fence in it. */
function fence(text: string, language = ''): string {
  const marks = '`'.repeat(Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length)) + 1)
  return `${marks}${language}\n${text}\n${marks}`
}
