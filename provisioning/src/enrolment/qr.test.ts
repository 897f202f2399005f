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

describe('a QR code', () => {
  it('scans as a PNG picture', async () => {
    expect(decodeQr(PNG.sync.read(Buffer.from(await pictureQr(config, 'phone.png'))))).toBe(config)
  })

  it('scans from a terminal, whose colours it sets itself', async () => {
    const lines = (await terminalQr(config)).split('\n').filter((line) => line !== '')
    for (const line of lines) expect(line).toMatch(/^\x1b\[47m\x1b\[30m.*\x1b\[0m$/)
    // Half-height blocks: each character is two modules, one above the other, black on white.
    const rows = lines.map((line) => line.replaceAll(/\x1b\[\d+m/g, ''))
    const [upper, lower] = [new Set(['▀', '█']), new Set(['▄', '█'])]
    const isBlack = (x: number, y: number) =>
      (y % 2 === 0 ? upper : lower).has(rows[Math.floor(y / 2)]?.[x] ?? ' ')
    const [scale, border] = [6, 4]
    const [width, height] = [
      ((rows[0]?.length ?? 0) + 2 * border) * scale,
      (rows.length + border) * 2 * scale,
    ]
    const data = new Uint8Array(width * height * 4).fill(255)
    for (let y = 0; y < height; y += 1)
      for (let x = 0; x < width; x += 1)
        if (isBlack(Math.floor(x / scale) - border, Math.floor(y / scale) - border))
          data.fill(0, (y * width + x) * 4, (y * width + x) * 4 + 3)
    expect(decodeQr({ width, height, data })).toBe(config)
  })

  it('is written as the picture that its name says, and as no other', async () => {
    expect(await pictureQr(config, 'phone.svg')).toMatch(/^<svg /)
    expect(() => checkPicture('phone.gif')).toThrow(expect.objectContaining({ code: 'picture' }))
  })
})
