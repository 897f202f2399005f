import type { MarkdownIt } from 'markdown-it'
import { highlight } from '~/markdown/highlight'
import { createMarkdown } from '~/markdown/markdown'

const made = new Map<string, MarkdownIt>()

/** Markdown in the chosen language: what stands on its buttons. */
export function useMarkdown() {
  const { t, locale } = useI18n()
  return computed(() => {
    const known = made.get(locale.value)
    if (known) return known
    const labels = {
      copy: t('chat.copy'),
      code: t('chat.code'),
      table: t('chat.table'),
      picture: t('chat.picture'),
      done: t('chat.task.done'),
      open: t('chat.task.open'),
    }
    const markdown = createMarkdown(labels, highlight)
    made.set(locale.value, markdown)
    return markdown
  })
}
