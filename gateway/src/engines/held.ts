/**
 * The beginning of something whose end has not come yet. Bytes are added in place: where all that is there were
 * copied for each piece, one who sends byte by byte would keep the gateway busy with next to nothing.
 */
export interface Held {
  /** Until more is added. */
  readonly bytes: Buffer
  add(chunk: Uint8Array): void
}

export function hold(first: Uint8Array): Held {
  let room = Buffer.from(first)
  let length = first.length
  return {
    get bytes() {
      return room.subarray(0, length)
    },
    add(chunk) {
      const needed = length + chunk.length
      if (needed > room.length) {
        const larger = Buffer.allocUnsafe(Math.max(needed, 2 * room.length))
        room.copy(larger, 0, 0, length)
        room = larger
      }
      room.set(chunk, length)
      length = needed
    },
  }
}
