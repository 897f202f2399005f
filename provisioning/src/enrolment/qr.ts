/** A config or a link as a QR code, which the WireGuard apps and phones' cameras scan. */
import QRCode from 'qrcode'
import { Problem } from '../problem.ts'

/** Low: a screen has no scratches, and a smaller code scans better. */
const errorCorrectionLevel = 'L'

/** In half-height blocks, for a terminal. */
export async function terminalQr(text: string): Promise<string> {
  return QRCode.toString(text, { type: 'terminal', small: true, errorCorrectionLevel })
}

/** As a picture of the kind that the file's name says. Throws a `Problem` for another kind. */
export async function pictureQr(text: string, file: string): Promise<string | Uint8Array> {
  if (checkPicture(file) === 'svg') return QRCode.toString(text, { type: 'svg', errorCorrectionLevel })
  return QRCode.toBuffer(text, { type: 'png', errorCorrectionLevel, scale: 6 })
}

/** Throws a `Problem` for a file name that does not end in `.png` or `.svg`. */
export function checkPicture(file: string): 'png' | 'svg' {
  const [, kind] = /\.(png|svg)$/i.exec(file) ?? []
  if (kind) return kind.toLowerCase() === 'svg' ? 'svg' : 'png'
  throw new Problem(
    'picture',
    `A QR code is written as .png or .svg, not as ${file}.`,
    'Name it so: --qr phone.png',
  )
}
