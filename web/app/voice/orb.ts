/**
 * The drawing of the voice view: one calm shape, which is another one for each state, so that it is told at a
 * glance and without colours. Between states it flows. Nothing is allocated while it draws.
 */

export const modes = [
  'idle',
  'listening',
  'thinking',
  'speaking',
  'interrupted',
  'muted',
  'paused',
  'reconnecting',
] as const
export type Mode = (typeof modes)[number]

/** What a mode looks like. Radii are parts of half the canvas; the others go from 0 to 1. */
interface Look {
  readonly radius: number
  /** How much of the shape is filled; what is not is a ring. */
  readonly fill: number
  /** How much it follows what is heard, or said. */
  readonly swing: number
  /** Three dots that go around it. */
  readonly dots: number
  /** Waves that leave it. */
  readonly waves: number
  /** A ring that is broken, and turns. */
  readonly broken: number
}

const still: Look = { radius: 0.5, fill: 1, swing: 0, dots: 0, waves: 0, broken: 0 }
const looks: Record<Mode, Look> = {
  idle: { ...still, fill: 0.12 },
  listening: { ...still, radius: 0.54, swing: 1 },
  thinking: { ...still, radius: 0.4, dots: 1 },
  speaking: { ...still, radius: 0.5, swing: 0.45, waves: 1 },
  interrupted: { ...still, radius: 0.36, fill: 0.12, swing: 0.4, waves: 0.4 },
  muted: { ...still, fill: 0 },
  paused: { ...still, radius: 0.44, fill: 0.12 },
  reconnecting: { ...still, radius: 0.46, fill: 0, broken: 1 },
}

/** Points of the outline: enough that none is seen. */
const points = 120
const cosines = Float32Array.from({ length: points }, (_, at) => Math.cos((at / points) * 2 * Math.PI))
const sines = Float32Array.from({ length: points }, (_, at) => Math.sin((at / points) * 2 * Math.PI))
/** The waves of the outline: how many there are around it. */
const lobes = [2, 3, 5].map((count) =>
  Float32Array.from({ length: points }, (_, at) => (at / points) * 2 * Math.PI * count),
)
const [two = sines, three = sines, five = sines] = lobes
const lightens = CSS.supports('color', 'oklch(from red l c h)')
const whole: number[] = []
const dashed: number[] = [0, 0]

/** Seconds in which a change is two thirds done: of a state, and of loudness when it rises and when it falls. */
const easing = { look: 0.14, rise: 0.04, fall: 0.18 }

export interface Orb {
  /** Takes the colours of the modes, as CSS has them. */
  paint(colour: (mode: Mode) => string): void
  /** The next picture. @param now milliseconds; @param level loudness, 0 to 1 */
  draw(now: number, mode: Mode, level: number): void
  resize(): void
}

/** @param moves false where less motion is wanted: then only the loudness is seen, as a ring that grows */
export function createOrb(canvas: HTMLCanvasElement, moves: () => boolean): Orb {
  const found = canvas.getContext('2d')
  if (!found) throw new Error('This browser draws nothing.')
  const context = found
  const colours = new Map<Mode, { readonly line: string; readonly body: CanvasGradient }>()
  let colour: (mode: Mode) => string = () => ''
  let half = 0
  let before = 0
  let time = 0
  let loud = 0
  let radius = 0.5
  let fill = 0
  let swing = 0
  let dots = 0
  let waves = 0
  let broken = 0
  let from: Mode = 'idle'
  let to: Mode = 'idle'
  /** How far the colour has gone from the one to the other. */
  let mixed = 1

  function resize(): void {
    const density = Math.min(2, window.devicePixelRatio || 1)
    const size = Math.round(canvas.clientWidth * density)
    if (size === canvas.width || size === 0) return
    canvas.width = canvas.height = size
    half = size / 2
    mix()
  }

  /** Light from above, on the left, where the browser can lighten a colour. */
  function mix(): void {
    for (const mode of modes) {
      const line = colour(mode)
      if (line === '') continue
      const body = context.createRadialGradient(-0.2 * half, -0.3 * half, 0, 0, 0, half * 0.8)
      body.addColorStop(0, lightens ? `oklch(from ${line} calc(l + 0.12) c h)` : line)
      body.addColorStop(1, line)
      colours.set(mode, { line, body })
    }
  }

  function colourWith(mode: Mode): void {
    const look = colours.get(mode)
    if (!look) return
    context.strokeStyle = look.line
    context.fillStyle = look.body
  }

  function outline(at: number, amplitude: number): void {
    context.beginPath()
    for (let point = 0; point < points; point += 1) {
      const wave =
        0.5 * Math.sin((two[point] ?? 0) + time * 1.1) +
        0.3 * Math.sin((three[point] ?? 0) - time * 1.6) +
        0.2 * Math.sin((five[point] ?? 0) + time * 2.3)
      const length = at * (1 + amplitude * wave)
      context.lineTo((cosines[point] ?? 0) * length, (sines[point] ?? 0) * length)
    }
    context.closePath()
  }

  function circle(at: number): void {
    context.beginPath()
    context.arc(0, 0, at, 0, 2 * Math.PI)
  }

  /** Everything in one colour. */
  function shape(share: number): void {
    const at = radius * half
    const moved = moves()
    const amplitude = moved ? swing * (0.02 + 0.16 * loud) : 0
    const grown = loud * swing
    const line = half * 0.022
    context.lineWidth = line
    if (waves > 0.01)
      for (let wave = 0; wave < 3; wave += 1) {
        const phase = moved ? (time * 0.45 + wave / 3) % 1 : (wave + 1) / 3
        circle(at + (half * 0.97 - at) * phase)
        context.globalAlpha = share * waves * (1 - phase) * (0.12 + 0.4 * loud)
        context.stroke()
      }
    context.globalAlpha = share * 0.1 * swing
    outline(Math.min(half * 0.98, at * (1.14 + 0.7 * grown)), amplitude * 0.8)
    context.fill()
    context.globalAlpha = share * 0.18 * swing
    outline(Math.min(half * 0.9, at * (1.06 + 0.34 * grown)), amplitude)
    context.fill()
    outline(at, amplitude)
    context.globalAlpha = share * fill
    context.fill()
    context.globalAlpha = share * (1 - broken) * (1 - fill)
    context.stroke()
    if (broken > 0.01) {
      context.save()
      if (moved) context.rotate(time * 0.6)
      dashed[0] = dashed[1] = (2 * Math.PI * at) / 16
      context.setLineDash(dashed)
      circle(at)
      context.globalAlpha = share * broken
      context.stroke()
      context.setLineDash(whole)
      context.restore()
    }
    if (dots > 0.01)
      for (let dot = 0; dot < 3; dot += 1) {
        const angle = (moved ? time * 1.8 : 0) + (dot * 2 * Math.PI) / 3
        const way = at * 1.42
        context.beginPath()
        context.arc(Math.cos(angle) * way, Math.sin(angle) * way, half * 0.045 * dots, 0, 2 * Math.PI)
        context.globalAlpha = share * dots
        context.fill()
      }
  }

  return {
    resize,
    paint(given) {
      colour = given
      mix()
    },
    draw(now, mode, level) {
      const seconds = Math.min(0.1, (now - before) / 1_000)
      before = now
      time = (time + seconds) % 1_000
      if (mode !== to) {
        from = to
        to = mode
        mixed = 0
      }
      const look = looks[mode]
      const step = moves() ? 1 - Math.exp(-seconds / easing.look) : 1
      radius += (look.radius - radius) * step
      fill += (look.fill - fill) * step
      swing += (look.swing - swing) * step
      dots += (look.dots - dots) * step
      waves += (look.waves - waves) * step
      broken += (look.broken - broken) * step
      mixed += (1 - mixed) * step
      loud += (level - loud) * (1 - Math.exp(-seconds / (level > loud ? easing.rise : easing.fall)))
      if (half === 0) return
      context.setTransform(1, 0, 0, 1, half, half)
      context.clearRect(-half, -half, 2 * half, 2 * half)
      if (mixed < 0.98) {
        colourWith(from)
        shape(1 - mixed)
      }
      colourWith(to)
      shape(mixed)
    },
  }
}
