import type { Item, NewItem } from '#protocol/events.ts'
import { newId } from './id.ts'

/** An item of the conversation from what a client put into it; ids that it left out are made. */
export function newItem(given: NewItem): Item {
  const made = { id: given.id ?? newId('item'), object: 'realtime.item', status: 'completed' } as const
  if (given.type === 'message')
    return { ...made, type: given.type, role: given.role, content: given.content.map(contentOf) }
  const { call_id = newId('call') } = given
  return given.type === 'function_call'
    ? { ...made, type: given.type, name: given.name, arguments: given.arguments, call_id }
    : { ...made, type: given.type, call_id, output: given.output }
}

type Given = Extract<NewItem, { type: 'message' }>['content'][number]
type Made = Extract<Item, { type: 'message' }>['content'][number]

function contentOf(part: Given): Made {
  if (part.type === 'input_image') return { type: part.type, image_url: part.image_url }
  if (part.type === 'input_audio') return { type: part.type, transcript: part.transcript ?? null }
  if (part.type === 'output_audio') return { type: part.type, transcript: part.transcript ?? '' }
  if (part.type === 'output_text') return { type: part.type, text: part.text }
  return { type: part.type, text: part.text, ...(part.x_name !== undefined && { x_name: part.x_name }) }
}
