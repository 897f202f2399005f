import { loudness } from '~/realtime/loudness'
import type { Sound } from './useSound'

/** Why there is no microphone: `talk.microphone.…` says what to do. */
const problems: Record<string, string> = {
  NotAllowedError: 'blocked',
  NotFoundError: 'none',
  NotReadableError: 'taken',
}

/** The microphone as PCM16 mono at 16 kHz. Kept open between turns, so that a turn begins at once. */
export function useMicrophone({ unlock }: Sound, heard: (samples: Int16Array) => void) {
  const { t } = useI18n()
  const preferences = usePreferences()
  const listening = ref(false)
  /** Loudness of the last piece, 0 to 1. */
  const level = ref(0)
  const problem = ref<string>()
  /** False where the browser does not take the loudspeaker's sound out of the microphone's. */
  const cancelsEcho = ref(true)
  /** Open, but it hears silence. */
  const muted = ref(false)
  /** The one that is open, by the id that the browser gives it. */
  const device = ref<string>()
  let opening: Promise<void> | undefined
  /** Counts up when the microphone is given back: whoever still waits for it then has no right to it any more. */
  let released = 0
  let stream: MediaStream | undefined
  let node: AudioWorkletNode | undefined
  let source: MediaStreamAudioSourceNode | undefined

  async function start(): Promise<boolean> {
    problem.value = undefined
    if (!navigator.mediaDevices) {
      problem.value = t('talk.microphone.insecure')
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
      const known = problems[name]
      problem.value = known ? t(`talk.microphone.${known}`) : t('talk.microphone.unknown', { name })
      return false
    }
  }

  /** The one that was chosen, or another one while it is unplugged. Also changes it in the middle of a turn. */
  async function connect(into: AudioContext): Promise<void> {
    const before = released
    const given = await navigator.mediaDevices.getUserMedia({
      audio: {
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
        channelCount: 1,
        ...(preferences.microphone !== null && { deviceId: { ideal: preferences.microphone } }),
      },
    })
    const [track] = given.getAudioTracks()
    // Allowed when it was not wanted any more.
    if (before !== released || !track) return end(given)
    node ??= await load(into)
    if (before !== released) return end(given)
    const settings = track.getSettings()
    cancelsEcho.value = settings.echoCancellation !== false
    device.value = settings.deviceId
    track.enabled = !muted.value
    track.addEventListener('ended', () => stream === given && lost(into))
    source?.disconnect()
    if (stream) end(stream)
    stream = given
    source = into.createMediaStreamSource(given)
    source.connect(node)
  }

  function end(given: MediaStream): void {
    for (const track of given.getTracks()) track.stop()
  }

  /** It was unplugged: there may be another one. */
  function lost(into: AudioContext): void {
    connect(into).catch(() => {
      problem.value = t('talk.microphone.ended')
      release()
    })
  }

  /** Takes the one that is wanted now, where another one is open. */
  async function change(): Promise<void> {
    if (!stream || (preferences.microphone !== null && preferences.microphone === device.value)) return
    await connect(unlock()).catch(() => {
      // The one that is open goes on.
    })
  }

  async function plugged(): Promise<void> {
    if (preferences.microphone === null || preferences.microphone === device.value) return
    const all = await navigator.mediaDevices.enumerateDevices()
    if (all.some(({ deviceId }) => deviceId === preferences.microphone)) await change()
  }

  async function load(into: AudioContext): Promise<AudioWorkletNode> {
    await into.audioWorklet.addModule('/worklets/microphone.js')
    const loaded = new AudioWorkletNode(into, 'microphone', { numberOfOutputs: 0 })
    loaded.port.onmessage = ({ data }: MessageEvent<Int16Array | null>) => {
      if (!listening.value || !data?.length) return
      level.value = loudness(data, 32_768)
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
    if (stream) end(stream)
    stream = source = device.value = undefined
    muted.value = false
    rest()
  }

  function rest(): void {
    listening.value = false
    level.value = 0
  }

  watch(muted, (now) => stream?.getAudioTracks().forEach((track) => (track.enabled = !now)))
  watch(() => preferences.microphone, change)
  const pluggedIn = (): void => void plugged()
  onMounted(() => navigator.mediaDevices?.addEventListener('devicechange', pluggedIn))
  onBeforeUnmount(() => {
    navigator.mediaDevices?.removeEventListener('devicechange', pluggedIn)
    release()
  })
  return { listening, level, problem, cancelsEcho, muted, device, start, finish, release }
}
