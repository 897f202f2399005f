/** Why there is no microphone, in words that say what to do. */
const problems: Record<string, string> = {
  insecure:
    'The browser gives the microphone to trusted pages alone. Install this gateway’s certificate (the link “Trust” that it printed), then reload.',
  NotAllowedError:
    'The microphone is blocked. Allow it for this page in the browser’s site settings, then try again.',
  NotFoundError: 'No microphone was found. Plug one in, then try again.',
  NotReadableError: 'Another program holds the microphone. Close it, then try again.',
}

/** The microphone as PCM16 mono at 16 kHz. Kept open between turns, so that a turn begins at once. */
export function useMicrophone(heard: (samples: Int16Array) => void) {
  const listening = ref(false)
  /** Loudness of the last piece, 0 to 1. */
  const level = ref(0)
  const problem = ref<string>()
  let context: AudioContext | undefined
  let stream: MediaStream | undefined
  let node: AudioWorkletNode | undefined

  async function start(): Promise<boolean> {
    problem.value = undefined
    if (!navigator.mediaDevices) {
      problem.value = problems.insecure
      return false
    }
    try {
      // In the tap itself, before anything is awaited: iOS unlocks sound only there.
      context ??= new AudioContext()
      const resumed = context.resume()
      if (!node) await connect(context)
      await resumed
      listening.value = true
      return true
    } catch (error) {
      const name = error instanceof Error ? error.name : ''
      problem.value = problems[name] ?? `The microphone can't be used (${name || 'unknown reason'}).`
      return false
    }
  }

  async function connect(into: AudioContext): Promise<void> {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    })
    await into.audioWorklet.addModule('/worklets/microphone.js')
    node = new AudioWorkletNode(into, 'microphone', { numberOfOutputs: 0 })
    node.port.onmessage = ({ data }: MessageEvent<Int16Array | null>) => {
      if (!listening.value || !data?.length) return
      level.value = loudness(data)
      heard(data)
    }
    into.createMediaStreamSource(stream).connect(node)
  }

  /** Resolves when the last samples were handed over. */
  async function finish(): Promise<void> {
    if (node) {
      const { port } = node
      const flushed = new Promise<void>((settle) => {
        port.addEventListener('message', ({ data }) => data === null && settle())
      })
      port.postMessage('flush')
      await flushed
    }
    listening.value = false
    level.value = 0
  }

  onBeforeUnmount(() => {
    for (const track of stream?.getTracks() ?? []) track.stop()
    void context?.close()
  })
  return { listening, level, problem, start, finish }
}

/** On a scale of 50 dB, as the ear has it. */
function loudness(samples: Int16Array): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  const rms = Math.sqrt(sum / samples.length) / 32_768
  return Math.max(0, Math.min(1, 1 + (20 * Math.log10(rms || 1e-9)) / 50))
}
