/** The codes must scan: a QR reader reads them back. */
import { PNG } from 'pngjs'
import decodeQr from 'qr/decode.js'
import { describe, expect, it } from 'vitest'
import { checkPicture, pictureQr, terminalQr } from './qr.ts'

const config = `[Interface]
PrivateKey = ${'A'.repeat(43)}=
Address = 10.77.0.2/32, fd12:3456:789a::2/128
MTU = 1280

[Peer]
PublicKey = ${'B'.repeat(43)}=
PresharedKey = ${'C'.repeat(43)}=
Endpoint = hub.example:51820
AllowedIPs = 10.77.0.0/24, fd12:3456:789a::/64
PersistentKeepalive = 25
`

/** A colour (ECMA-48 §8.3.117, SGR), or a character. */
const escapes = new RegExp(`${String.fromCodePoint(0x1b)}\\[(\\d+)m|(.)`, 'gu')

/** Of each character whether its upper and its lower half are black, as a terminal draws them. */
function halves(line: string): [boolean, boolean][] {
  let ink = false
  const cells: [boolean, boolean][] = []
  for (const [, code, char = ''] of line.matchAll(escapes))
    if (code !== undefined) ink = code === '30' || (ink && code === '47')
    else cells.push([ink && '▀█'.includes(char), ink && '▄█'.includes(char)])
  return cells
}

describe('a QR code', () => {
  it('scans as a PNG picture', async () => {
    expect(decodeQr(PNG.sync.read(Buffer.from(await pictureQr(config, 'phone.png'))))).toBe(config)
  })

  it('scans from a terminal, whose colours it sets itself', async () => {
    const rows = (await terminalQr(config)).split('\n').map(halves)
    const isBlack = (x: number, y: number) => rows[Math.floor(y / 2)]?.[x]?.[y % 2 === 0 ? 0 : 1] ?? false
    // As a camera sees it: eight pixels a module, and the light screen around it.
    const [scale, border] = [8, 4]
    const side = ((rows[0]?.length ?? 0) + 2 * border) * scale
    const picture = new PNG({ width: side, height: side })
    picture.data.fill(255)
    for (let y = 0; y < side; y += 1)
      for (let x = 0; x < side; x += 1)
        if (isBlack(Math.floor(x / scale) - border, Math.floor(y / scale) - border))
          picture.data.fill(0, (y * side + x) * 4, (y * side + x) * 4 + 3)
    expect(decodeQr(picture)).toBe(config)
  })

  it('is written as the picture that its name says, and as no other', async () => {
    expect(await pictureQr(config, 'phone.svg')).toMatch(/^<svg /)
    expect(() => checkPicture('phone.gif')).toThrow(expect.objectContaining({ code: 'picture' }))
  })
})
