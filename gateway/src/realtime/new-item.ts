import type { Item, NewItem } from '#protocol/events.ts'
import { newId } from './id.ts'

/** An item of the conversation from what a client put into it; ids that it left out are made. */
export function newItem(given: NewItem): Item {
  const made = { id: given.id ?? newId('item'), object: 'realtime.item', status: 'completed' } as const
  switch (given.type) {
    case 'function_call':
      return {
        ...made,
        type: given.type,
        name: given.name,
        arguments: given.arguments,
        call_id: given.call_id ?? newId('call'),
      }
    case 'function_call_output':
      return { ...made, type: given.type, call_id: given.call_id, output: given.output }
    case 'message':
      return { ...made, type: given.type, role: given.role, content: given.content.map(contentOf) }
  }
}

type Given = Extract<NewItem, { type: 'message' }>['content'][number]
type Made = Extract<Item, { type: 'message' }>['content'][number]

function contentOf(part: Given): Made {
  switch (part.type) {
    case 'input_text':
    case 'output_text':
      return { type: part.type, text: part.text }
    case 'input_image':
      return { type: part.type, image_url: part.image_url }
    case 'input_audio':
      return { type: part.type, transcript: part.transcript ?? null }
    case 'output_audio':
      return { type: part.type, transcript: part.transcript ?? '' }
  }
}
