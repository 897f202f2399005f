/** The pictures in a conversation, which are data: URLs of megabytes. */
import type { Item } from '#protocol/events.ts'

export interface Picture {
  /** As who put it there says. */
  readonly type: string
  readonly bytes: Buffer
}

/** As clients are told of it: each picture is asked for by itself, where it is to be seen. */
export function withoutPictures(item: Item): Item {
  if (item.type !== 'message' || !item.content.some(({ type }) => type === 'input_image')) return item
  return {
    ...item,
    content: item.content.map((part) => (part.type === 'input_image' ? { type: part.type } : part)),
  }
}

/** Undefined where there is none at this place of its content. */
export function pictureOf(item: Item, index: number): Picture | undefined {
  const part = item.type === 'message' ? item.content[index] : undefined
  const url = part?.type === 'input_image' ? part.image_url : undefined
  const comma = url?.indexOf(',') ?? -1
  const type = /^data:([^;,]+);base64$/.exec(url?.slice(0, comma) ?? '')?.[1]
  if (url === undefined || type === undefined) return undefined
  return { type: type.toLowerCase(), bytes: Buffer.from(url.slice(comma + 1), 'base64') }
}
