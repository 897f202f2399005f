/** Conversations as if somebody had had them. */
import type { Page } from 'playwright-core'

/**
 * Puts messages into a new conversation, a question and an answer in turn, by the page's own connection to the
 * gateway; resolves to its id.
 */
export async function haveConversation(page: Page, messages: readonly string[]): Promise<string> {
  return page.evaluate(`(${inBrowser})(${JSON.stringify(messages)})`)
}

/** A hundred at a time: the gateway keeps what it sends until it came, and not without end. */
const inBrowser = `(texts) => new Promise((settle, fail) => {
  const socket = new WebSocket('wss://' + location.host + '/v1/realtime', 'realtime.sotto.v1')
  let conversation
  let received = 0
  let sent = 0
  const more = () => {
    for (const end = Math.min(texts.length, sent + 100); sent < end; sent += 1) {
      const mine = sent % 2 === 0
      const content = [{ type: mine ? 'input_text' : 'output_text', text: texts[sent] }]
      const item = { id: 'said_' + sent, type: 'message', role: mine ? 'user' : 'assistant', content }
      socket.send(JSON.stringify({ type: 'conversation.item.create', item }))
    }
  }
  socket.onerror = () => fail(new Error('The conversation could not be had.'))
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data)
    if (event.type === 'x.ack') return
    received += 1
    if (received % 50 === 0) socket.send(JSON.stringify({ type: 'x.ack', received }))
    if (event.type === 'error') fail(new Error(event.error.message))
    if (event.type === 'session.created') {
      conversation = event.session.x_conversation
      more()
    }
    if (event.type !== 'conversation.item.done' || event.item.id !== 'said_' + (sent - 1)) return
    if (sent < texts.length) return more()
    socket.close(1000)
    settle(conversation)
  }
})`
