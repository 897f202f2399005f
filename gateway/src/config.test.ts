import { describe, expect, it } from 'vitest'
import { ollamaHost, readConfig } from './config.ts'

describe('the options', () => {
  it('have defaults', () => {
    expect(readConfig({ ollama: 'http://127.0.0.1:11434' })).toEqual({
      port: 8443,
      loopback: false,
      ollama: 'http://127.0.0.1:11434',
    })
  })

  for (const [option, value] of [
    ['port', 'many'],
    ['port', '70000'],
    ['whisper', 'localhost:8080'],
    ['ollama', 'ftp://127.0.0.1'],
  ] as const)
    it(`name --${option} when it is “${value}”`, () => {
      expect(() => readConfig({ [option]: value })).toThrow(`--${option}: “${value}”`)
    })
})

describe('OLLAMA_HOST', () => {
  for (const [given, url] of [
    [undefined, undefined],
    ['', undefined],
    ['0.0.0.0', 'http://127.0.0.1:11434'],
    [':1234', 'http://127.0.0.1:1234'],
    ['10.0.0.5:1234', 'http://10.0.0.5:1234'],
    ['https://gpu.example', 'https://gpu.example:443'],
    ['http://gpu.example/', 'http://gpu.example:80'],
    ['"127.0.0.1"', 'http://127.0.0.1:11434'],
    ['[::]:99', 'http://127.0.0.1:99'],
  ] as const)
    it(`“${given ?? ''}” is dialled at ${url ?? 'the default'}`, () => {
      expect(ollamaHost(given)).toBe(url)
    })
})
