export interface AudioDevice {
  readonly id: string
  readonly label: string
}

/** The microphones and loudspeakers that this device has now. A browser names them only to who may listen. */
export function useAudioDevices() {
  const microphones = ref<readonly AudioDevice[]>([])
  const speakers = ref<readonly AudioDevice[]>([])
  /** Whether the browser tells them apart: before the microphone was allowed it does not. */
  const named = ref(false)
  /** Whether a page may choose the loudspeaker: elsewhere the system does. */
  const speakerChoice = 'setSinkId' in AudioContext.prototype

  async function look(): Promise<void> {
    const all = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? []
    named.value = all.some(({ deviceId, label }) => deviceId !== '' && label !== '')
    microphones.value = devicesOf(all, 'audioinput')
    speakers.value = devicesOf(all, 'audiooutput')
  }

  const changed = (): void => void look()
  onMounted(() => {
    changed()
    navigator.mediaDevices?.addEventListener('devicechange', changed)
  })
  onBeforeUnmount(() => navigator.mediaDevices?.removeEventListener('devicechange', changed))
  return { microphones, speakers, named, speakerChoice, look }
}

/** Chromium lists the system's choice as a device of its own: that is what no choice means. */
function devicesOf(all: readonly MediaDeviceInfo[], kind: MediaDeviceKind): AudioDevice[] {
  return all
    .filter((one) => one.kind === kind && !['', 'default', 'communications'].includes(one.deviceId))
    .map(({ deviceId, label }) => ({ id: deviceId, label }))
}
