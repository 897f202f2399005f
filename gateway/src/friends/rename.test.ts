/** Names of models as they pass between two gateways, in each dialect, whatever the chunks. */
import { describe, expect, it } from 'vitest'
import { renameAnswer, renameRequest } from './rename.ts'

const json = 'application/json; charset=utf-8'
const ndjson = 'application/x-ndjson'
const sse = 'text/event-stream'

/** In chunks of so many bytes. */
function renamed(text: string, type: string, size: number): string {
  const rename = renameAnswer('ada', type)
  const bytes = Buffer.from(text)
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) pieces.push(rename(bytes.subarray(at, at + size)))
  return Buffer.concat(pieces).toString()
}

const answers: Record<string, readonly [type: string, before: string, after: string]> = {
  'Ollama’s stream': [
    ndjson,
    '{"model":"tiny","message":{"role":"assistant","content":"Hi"},"done":false}\n{"model":"tiny","done":true}\n',
    '{"model":"tiny@ada","message":{"role":"assistant","content":"Hi"},"done":false}\n{"model":"tiny@ada","done":true}\n',
  ],
  'OpenAI’s stream': [
    sse,
    'data: {"id":"1","model":"tiny:1b","choices":[{"delta":{"content":"model"}}]}\n\ndata: [DONE]\n\n',
    'data: {"id":"1","model":"tiny:1b@ada","choices":[{"delta":{"content":"model"}}]}\n\ndata: [DONE]\n\n',
  ],
  'OpenAI’s answer in one piece, laid out': [
    json,
    '{\n  "object": "chat.completion",\n  "model": "tiny",\n  "choices": []\n}',
    '{\n  "object": "chat.completion",\n  "model": "tiny@ada",\n  "choices": []\n}',
  ],
  'Responses’ events': [
    sse,
    'event: response.created\ndata: {"type":"response.created","response":{"id":"r","metadata":{"model":"x"},"model":"tiny","output":[]}}\n\n',
    'event: response.created\ndata: {"type":"response.created","response":{"id":"r","metadata":{"model":"x"},"model":"tiny@ada","output":[]}}\n\n',
  ],
  'Anthropic’s events': [
    sse,
    'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"tiny","content":[]}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
    'event: message_start\ndata: {"type":"message_start","message":{"id":"m","model":"tiny@ada","content":[]}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
  ],
}

const untouched: Record<string, readonly [type: string, text: string]> = {
  'what the model says of models': [
    ndjson,
    String.raw`{"message":{"content":"{\"model\":\"tiny\"} \\"},"done":false}` + '\n',
  ],
  'what a tool is called with': [
    ndjson,
    '{"message":{"tool_calls":[{"function":{"name":"load","arguments":{"model":"tiny"}}}]}}\n',
  ],
  'a model’s details': [json, '{"details":{"model":"x"},"capabilities":["model","tiny"]}'],
  'a list': [json, '[{"model":"x"},"model","y"]'],
  sound: ['audio/wav', '{"model":"tiny"}'],
}

describe('a name in an answer', () => {
  for (const size of [1, 7, 10_000]) {
    it.each(Object.entries(answers))(`has the friend’s behind it: %s, ${size} bytes at a time`, (_, one) => {
      const [type, before, after] = one
      expect(renamed(before, type, size)).toBe(after)
    })
    it.each(Object.entries(untouched))(`is not found in %s, ${size} bytes at a time`, (_, [type, text]) => {
      expect(renamed(text, type, size)).toBe(text)
    })
  }

  it('is found in the line after one that was cut', () => {
    expect(renamed('{"model":"a","mess\n{"model":"b"}\n', ndjson, 5)).toContain('{"model":"b@ada"}')
  })
})

describe('a name in a request', () => {
  const request = (text: string) => renameRequest('ada', Buffer.from(text)).toString()

  it('loses the friend’s, wherever in the request it stands', () => {
    expect(request('{"model":"tiny@ada","messages":[]}')).toBe('{"model":"tiny","messages":[]}')
    expect(request('{"messages":[{"model":"a@ada"}],"stream":true,"model":"tiny:1b@ada"}')).toBe(
      '{"messages":[{"model":"a@ada"}],"stream":true,"model":"tiny:1b"}',
    )
  })

  it('stays as it is where it is no friend’s', () => {
    expect(request('{"model":"tiny"}')).toBe('{"model":"tiny"}')
    expect(request('{"model":"tiny@bob"}')).toBe('{"model":"tiny@bob"}')
  })
})
