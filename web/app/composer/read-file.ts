/** What a person attaches, made ready to be sent: pictures smaller than they came, files as text. */
import type { Sendable } from '~/composables/useSession'

/** Models look at pictures smaller still. */
const longestSide = 2_048
/** A picture without loss may take so much; else it is sent as JPEG. */
const mostBytes = 1_500_000
/** The gateway takes no longer text in one piece. */
const mostCharacters = 100_000

/** Why a file can't be attached. */
export type Fault = 'notText' | 'tooLong' | 'notPicture'

/** @returns why it can't be */
export async function readFile(file: File): Promise<Sendable | Fault> {
  return file.type.startsWith('image/') && file.type !== 'image/svg+xml' ? readPicture(file) : readText(file)
}

async function readText(file: File): Promise<Sendable | Fault> {
  // UTF-8 has four bytes a character at most.
  if (file.size > mostCharacters * 4) return 'tooLong'
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer())
    if (text.includes('\0')) return 'notText'
    return text.length > mostCharacters ? 'tooLong' : { kind: 'file', name: file.name.slice(0, 255), text }
  } catch {
    return 'notText'
  }
}

/** Drawn anew: what the camera wrote into it, as where it was taken, stays here. */
async function readPicture(file: File): Promise<Sendable | Fault> {
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' }).catch(() => undefined)
  if (!bitmap) return 'notPicture'
  const scale = Math.min(1, longestSide / Math.max(bitmap.width, bitmap.height))
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(bitmap.width * scale))
  canvas.height = Math.max(1, Math.round(bitmap.height * scale))
  const context = canvas.getContext('2d')
  if (!context) return 'notPicture'
  context.imageSmoothingQuality = 'high'
  if (file.type === 'image/png') {
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
    const url = canvas.toDataURL('image/png')
    if (url.length < mostBytes) return { kind: 'picture', index: 0, url }
  }
  // JPEG knows nothing of what shines through.
  context.fillStyle = '#fff'
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height)
  return { kind: 'picture', index: 0, url: canvas.toDataURL('image/jpeg', 0.85) }
}
