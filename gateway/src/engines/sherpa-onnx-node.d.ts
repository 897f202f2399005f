/** What we use of sherpa-onnx-node 1.13, which has no types of its own. Source: its `types.js`. */
declare module 'sherpa-onnx-node' {
  export interface Whisper {
    encoder: string
    decoder: string
    /** ISO 639-1; empty lets a multilingual model find it. */
    language: string
    task: 'transcribe'
  }
  export interface RecognizerConfig {
    modelConfig: { whisper: Whisper; tokens: string; numThreads: number; debug: 0 }
  }
  export interface Stream {
    acceptWaveform(sound: { samples: Float32Array; sampleRate: number }): void
  }
  export interface Recognizer {
    readonly config: RecognizerConfig
    setConfig(config: RecognizerConfig): void
    createStream(): Stream
    decodeAsync(stream: Stream): Promise<{ text: string }>
  }
  export interface TtsConfig {
    model: { vits?: object; kokoro?: object; numThreads: number; debug: 0 }
    maxNumSentences: number
  }
  export interface Tts {
    readonly sampleRate: number
    readonly numSpeakers: number
    generateAsync(wish: {
      text: string
      sid: number
      speed: number
      enableExternalBuffer: boolean
      /** False ends it. */
      onProgress(made: { samples: Float32Array }): boolean
    }): Promise<unknown>
  }
  const sherpa: {
    OfflineRecognizer: { createAsync(config: RecognizerConfig): Promise<Recognizer> }
    OfflineTts: { createAsync(config: TtsConfig): Promise<Tts> }
  }
  export default sherpa
}
