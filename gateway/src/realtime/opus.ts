/** Sound as packets of Opus, for clients of ours on mobile data: a tenth of the bytes of PCM. */
import { Application, createDecoder, createEncoder, OpusError } from 'libopus-wasm'
import { inputSampleRate, outputSampleRate } from '#protocol/frame.ts'
import { Failure } from '../failure.ts'

export interface Packer {
  /** Packets of 20 ms of PCM16 mono at 24 kHz, each when it is full. */
  pack(samples: Int16Array): Uint8Array[]
  /** What is left, with silence after it. */
  rest(): Uint8Array[]
  close(): void
}

export interface Unpacker {
  /** PCM16 mono at 16 kHz. Throws a `Failure` `invalid` for what is no packet. */
  unpack(packet: Uint8Array): Int16Array
  close(): void
}

/** 20 ms. */
export const packetSamples = outputSampleRate / 50
/** At which Opus is told from PCM by few, for one voice. */
const bitsPerSecond = 32_000

export async function createPacker(): Promise<Packer> {
  const encoder = await createEncoder({
    sampleRate: outputSampleRate,
    channels: 1,
    application: Application.Voip,
    bitrate: bitsPerSecond,
  })
  const frame = new Int16Array(packetSamples)
  let filled = 0
  const pack = (samples: Int16Array): Uint8Array[] => {
    const packets: Uint8Array[] = []
    for (let at = 0; at < samples.length;) {
      const part = samples.subarray(at, at + packetSamples - filled)
      frame.set(part, filled)
      filled += part.length
      at += part.length
      if (filled < packetSamples) break
      packets.push(encoder.encode(frame))
      filled = 0
    }
    return packets
  }
  return {
    pack,
    rest: () => (filled === 0 ? [] : pack(new Int16Array(packetSamples - filled))),
    close: () => encoder.free(),
  }
}

export async function createUnpacker(): Promise<Unpacker> {
  const decoder = await createDecoder({ sampleRate: inputSampleRate, channels: 1 })
  return {
    unpack(packet) {
      try {
        return decoder.decode(packet)
      } catch (error) {
        if (error instanceof OpusError)
          throw new Failure('invalid', 'A frame of kind 2 holds one packet of Opus.', error)
        throw error
      }
    },
    close: () => decoder.free(),
  }
}
