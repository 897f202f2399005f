import { describe, expect, it } from 'vitest'
import { asFailure } from '../failure.ts'
import { targetOf, type Lending } from './allowed.ts'

const lending: Lending = {
  ollama: 'http://127.0.0.1:11434',
  whisper: 'http://127.0.0.1:8080/base',
  services: [
    { name: 'tts', url: 'http://127.0.0.1:5002/v1/audio/speech' },
    { name: 'all', url: 'http://127.0.0.1:9000/api/*' },
  ],
}
const refusal = (method: string, path: string, lent: Lending = lending) => {
  try {
    return targetOf(lent, method, path)
  } catch (error) {
    return asFailure(error).code
  }
}

describe('a lender', () => {
  it.each([
    ['POST', '/ollama/api/chat', 'http://127.0.0.1:11434', '/api/chat'],
    ['GET', '/ollama/api/tags?x=1', 'http://127.0.0.1:11434', '/api/tags'],
    ['POST', '/ollama/v1/messages', 'http://127.0.0.1:11434', '/v1/messages'],
    ['POST', '/whisper/inference', 'http://127.0.0.1:8080', '/base/inference'],
    ['POST', '/whisper/asr?task=transcribe', 'http://127.0.0.1:8080', '/base/asr?task=transcribe'],
    ['POST', '/services/tts/v1/audio/speech?x=1', 'http://127.0.0.1:5002', '/v1/audio/speech?x=1'],
    ['GET', '/services/all/api/voices', 'http://127.0.0.1:9000', '/api/voices'],
  ])('passes %s %s on', (method, path, origin, passed) => {
    expect(refusal(method, path)).toMatchObject({ origin, path: passed })
  })

  it.each([
    ['DELETE', '/ollama/api/delete'],
    ['POST', '/ollama/api/pull'],
    ['POST', '/ollama/api/push'],
    ['POST', '/ollama/api/create'],
    ['POST', '/ollama/api/copy'],
    ['POST', '/ollama/api/blobs/sha256:00'],
    ['HEAD', '/ollama/api/blobs/sha256:00'],
    ['POST', '/ollama/API/Pull'],
    ['POST', '/services/all/api/pull'],
    ['POST', '/ollama/api/me'],
  ])('refuses %s %s (defect 0.3 a: any method and path was forwarded)', (method, path) => {
    expect(refusal(method, path)).toBe('forbidden')
  })

  it.each([
    ['POST', '/ollama/api/chat/../pull'],
    ['POST', '/ollama/api/%2e%2e/pull'],
    ['POST', '/ollama//api/pull'],
    ['GET', '/ollama/'],
    ['GET', '/etc/passwd'],
    ['POST', '/services/other/v1/audio/speech'],
    ['POST', '/services/tts/v1/models'],
    ['POST', '/services/tts'],
  ])('knows nothing at %s %s', (method, path) => {
    expect(refusal(method, path)).toBe('not_found')
  })

  it('is asked by no method that it was not lent for', () => {
    expect(refusal('DELETE', '/ollama/api/tags')).toBe('method')
    expect(refusal('PUT', '/services/tts/v1/audio/speech')).toBe('method')
  })

  it('has only what its owner offers', () => {
    expect(refusal('POST', '/ollama/api/chat', { services: [] })).toBe('not_found')
    expect(refusal('POST', '/whisper/inference', { services: [] })).toBe('not_found')
  })
})
