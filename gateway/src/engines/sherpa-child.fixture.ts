/** Stands in for the process of the embedded engine where a test has no model: it says what it was asked. */
import type { SherpaReply, SherpaRequest } from './sherpa-protocol.ts'

const reply = (one: SherpaReply): void => {
  process.send?.(one)
}

process.on('message', (request: SherpaRequest) => {
  if (request.type === 'open') return
  const { id } = request
  if (request.type === 'stop') return reply({ id, type: 'text', text: 'too late' })
  if (request.type === 'hear') {
    if (request.samples[0] === 13) process.abort()
    if (request.samples[0] === 7) return
    const text = ` ${process.pid}:${request.samples.join(',')}:${request.language} `
    reply({ id, type: 'text', text })
  } else {
    const samples = Int16Array.from({ length: 2_205 }, () => request.speaker)
    reply({ id, type: 'sound', samples, sampleRate: 22_050 })
    if (request.text === 'crash') process.abort()
    if (request.text === 'slowly') return
    reply({ id, type: 'sound', samples, sampleRate: 22_050 })
  }
  reply({ id, type: 'done' })
})
process.once('disconnect', () => process.exit())
