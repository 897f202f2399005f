import type { BranchList, BranchPoint, ConversationSummary } from '@sotto/gateway/protocol/conversations.ts'
import { ask, Refused } from '~/gateway/ask'
import type { Attachment, Message } from '~/realtime/messages'
import type { Sendable } from './useSession'
import type { Talk } from './useTalk'

/** The versions of a conversation: another answer, another question, or another way to go on. */
export function useBranches(talk: Talk) {
  const { conversation, messages, stored } = talk
  const { t } = useI18n()
  const gateway = useGateway()
  const toast = useToast()
  /** By the first message that others have otherwise. */
  const points = shallowRef<ReadonlyMap<string, BranchPoint>>(new Map())
  /** One is being made. */
  const branching = ref(false)

  /** It was begun here: where it parts from the others is known when something is said in it. */
  let begun: string | undefined

  async function look(id: string): Promise<void> {
    const { points: found } = await ask<BranchList>('GET', `/sotto/conversations/${id}/branches`)
    if (id === conversation.value) points.value = new Map(found.map((point) => [point.item, point]))
  }

  /** Tells what went wrong, and that something did. */
  async function attempt(task: () => Promise<void>): Promise<void> {
    branching.value = true
    try {
      await task()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      talk.complain(error.message || t('chat.unreachable'))
    } finally {
      branching.value = false
    }
  }

  async function begin(before: string): Promise<string> {
    const path = `/sotto/conversations/${conversation.value}/branches`
    const { id } = await ask<ConversationSummary>('POST', path, { before })
    begun = id
    return id
  }

  /** Asks for another answer; the one that is there stays as a version. */
  function retry(message: Message): Promise<void> {
    return attempt(async () => {
      if (message.role === 'assistant') talk.open(await begin(message.id), message.id)
      talk.answerTyped()
    })
  }

  /** Asks something else in the place of a question; the one that is there stays as a version. */
  function edit(message: Message, text: string): Promise<void> {
    return attempt(async () => {
      const attachments = await Promise.all(message.attachments.map((one) => whole(message.id, one)))
      talk.open(await begin(message.id), message.id)
      talk.say({ text, attachments })
    })
  }

  /** Goes on from a message in a conversation of its own. */
  function branch(message: Message): Promise<void> {
    return attempt(async () => {
      const next = messages.value[messages.value.indexOf(message) + 1]
      if (!next) return
      talk.open(await begin(next.id), next.id)
      toast.add({ title: t('chat.branched'), icon: 'i-lucide-git-branch' })
    })
  }

  function choose(point: BranchPoint, version: number): void {
    const id = point.versions[version]
    if (id !== undefined) talk.open(id, point.item)
  }

  /** A picture that the gateway has is not here. */
  async function whole(item: string, attachment: Attachment): Promise<Sendable> {
    if (attachment.kind === 'file') return attachment
    const { kind, index, url } = attachment
    if (url !== undefined) return { kind, index, url }
    const path = `/sotto/conversations/${conversation.value}/items/${item}/content/${index}`
    const answer = await fetch(gateway.url(path)).catch(() => undefined)
    if (!answer?.ok) throw new Refused({ code: 'unreachable', message: '', remedy: '' })
    return { kind, index, url: await dataUrl(await answer.blob()) }
  }

  // Without them a conversation can be read as well.
  const lookQuietly = (id: string): void => void look(id).catch(() => {})
  watch([conversation, () => stored.value && messages.value.length > 0], ([id, there], [before]) => {
    if (id !== before) points.value = new Map()
    if (id !== undefined && there) lookQuietly(id)
  })
  watch([() => messages.value.length, talk.answering], () => {
    if (begun !== undefined && begun === conversation.value) lookQuietly(begun)
  })
  return { points, branching, retry, edit, branch, choose }
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((settle, fail) => {
    const reader = new FileReader()
    reader.addEventListener('load', () => settle(typeof reader.result === 'string' ? reader.result : ''))
    reader.addEventListener('error', () => fail(reader.error ?? new Error('The picture can’t be read.')))
    reader.readAsDataURL(blob)
  })
}
