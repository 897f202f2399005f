import type { Sound } from './useSound'

/** Why there is no microphone, in words that say what to do. */
const problems: Record<string, string> = {
  insecure:
    'The browser gives the microphone to trusted pages alone. Install this gateway’s certificate (the link “Trust” that it printed), then reload.',
  NotAllowedError:
    'The microphone is blocked. Allow it for this page in the browser’s site settings, then try again.',
  NotFoundError: 'No microphone was found. Plug one in, then try again.',
  NotReadableError: 'Another program holds the microphone. Close it, then try again.',
  ended: 'The microphone is gone. Plug it in again, or choose another one, then tap to talk.',
}

/** The microphone as PCM16 mono at 16 kHz. Kept open between turns, so that a turn begins at once. */
export function useMicrophone({ unlock }: Sound, heard: (samples: Int16Array) => void) {
  const listening = ref(false)
  /** Loudness of the last piece, 0 to 1. */
  const level = ref(0)
  const problem = ref<string>()
  /** False where the browser does not take the loudspeaker's sound out of the microphone's. */
  const cancelsEcho = ref(true)
  let opening: Promise<void> | undefined
  /** Counts up when the microphone is given back: whoever still waits for it then has no right to it any more. */
  let released = 0
  let stream: MediaStream | undefined
  let node: AudioWorkletNode | undefined
  let source: MediaStreamAudioSourceNode | undefined

  async function start(): Promise<boolean> {
    problem.value = undefined
    if (!navigator.mediaDevices) {
      problem.value = problems.insecure
      return false
    }
    try {
      const context = unlock()
      const before = released
      if (!stream) await (opening ??= connect(context).finally(() => (opening = undefined)))
      if (before !== released) return false
      listening.value = true
      return true
    } catch (error) {
      release()
      const name = error instanceof Error ? error.name : ''
      problem.value = problems[name] ?? `The microphone can't be used (${name || 'unknown reason'}).`
      return false
    }
  }

  async function connect(into: AudioContext): Promise<void> {
    const before = released
    const given = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    })
    // Allowed when it was not wanted any more.
    if (before !== released) return given.getTracks().forEach((track) => track.stop())
    stream = given
    const [track] = stream.getAudioTracks()
    cancelsEcho.value = track?.getSettings().echoCancellation !== false
    track?.addEventListener('ended', () => {
      problem.value = problems.ended
      release()
    })
    node ??= await load(into)
    if (before !== released) return
    source = into.createMediaStreamSource(stream)
    source.connect(node)
  }

  async function load(into: AudioContext): Promise<AudioWorkletNode> {
    await into.audioWorklet.addModule('/worklets/microphone.js')
    const loaded = new AudioWorkletNode(into, 'microphone', { numberOfOutputs: 0 })
    loaded.port.onmessage = ({ data }: MessageEvent<Int16Array | null>) => {
      if (!listening.value || !data?.length) return
      level.value = loudness(data)
      heard(data)
    }
    return loaded
  }

  /** Resolves when the last samples of a turn were handed over. */
  async function finish(): Promise<void> {
    if (node) {
      const { port } = node
      const flushed = new Promise<void>((settle) => {
        const flush = ({ data }: MessageEvent<Int16Array | null>): void => {
          if (data !== null) return
          port.removeEventListener('message', flush)
          settle()
        }
        port.addEventListener('message', flush)
        // An interrupted context has nothing to hand over, and says nothing.
        setTimeout(settle, 500)
      })
      port.postMessage('flush')
      await flushed
    }
    rest()
  }

  /** Gives the microphone back: the browser's sign that it is in use goes out. */
  function release(): void {
    released += 1
    source?.disconnect()
    for (const track of stream?.getTracks() ?? []) track.stop()
    stream = source = undefined
    rest()
  }

  function rest(): void {
    listening.value = false
    level.value = 0
  }

  onBeforeUnmount(release)
  return { listening, level, problem, cancelsEcho, start, finish, release }
}

/** On a scale of 50 dB, as the ear has it. */
function loudness(samples: Int16Array): number {
  let sum = 0
  for (const sample of samples) sum += sample * sample
  const rms = Math.sqrt(sum / samples.length) / 32_768
  return Math.max(0, Math.min(1, 1 + (20 * Math.log10(rms || 1e-9)) / 50))
}
