import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setDefaultCACertificates } from 'node:tls'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { execa } from 'execa'
import { WebSocket } from 'ws'
import { sotto, startGateway, startStandIn, temporaryDirectory } from '#test/lab/gateway.ts'
import { lookAt } from './process.ts'
import { startEngines } from './talk/engines.ts'
const folder = await temporaryDirectory()
process.env.SOTTO_BENCH_MEMORY = folder.path
const started: any[] = []
const { whisper, ollama, speech } = await startEngines(started)
const models = await startStandIn(undefined, 'ollama')
const state = join(folder.path, 'state'); await mkdir(state)
const config = join(folder.path, 'config.yaml')
await writeFile(config, `backends:\n  - { name: talk, url: ${ollama}, parallel: 64 }\n  - { name: models, url: ${models.url}, parallel: 64 }\nwhisper: { url: ${whisper}, parallel: 8 }\nspeech: { engine: openai, url: ${speech} }\n`)
process.env.NODE_OPTIONS = `--expose-gc --import ${join(import.meta.dirname, 'memory.mjs')} ${process.env.EXTRA ?? ''}`
const g = await startGateway(undefined, state, '--loopback', '--port', '0', '--config', config)
delete process.env.NODE_OPTIONS
await sotto('limit', 'tenant:home', '--state', state, '--tokens-per-month', '100000000000000')
const origin = g.origins.find((o) => o.includes('127.0.0.1'))!
setDefaultCACertificates([readFileSync(join(state, 'certs', 'root.crt'), 'utf8')])
const pid = g.process.pid!
const model = 'stand-in:latest'
const json = { 'content-type': 'application/json' }
const ask = async (p: string, i: RequestInit = {}) => { const r = await fetch(origin + p, i); await r.text(); return r }
const post = (p: string, b: object, h = {}) => ask(p, { method: 'POST', body: JSON.stringify(b), headers: { ...json, ...h } })
const one = { model, messages: [{ role: 'user', content: 'hi' }] }
const kinds: Record<string, () => Promise<unknown>> = {
  chatStream: () => post('/v1/chat/completions', { ...one, stream: true }),
  talkStream: () => post('/v1/chat/completions', { model: 'bench', messages: one.messages, stream: true }),
  ollama: () => post('/api/chat', { ...one, stream: false }),
  anthropic: () => post('/v1/messages', { ...one, max_tokens: 20, stream: true }),
  embeddings: () => post('/v1/embeddings', { model, input: 'x' }),
  speech: () => post('/v1/audio/speech', { model: 'tts-1', input: 'Hello.', response_format: 'pcm' }),
  leave: async () => { const c = new AbortController(); const r = await fetch(origin + '/v1/chat/completions', { method: 'POST', headers: json, body: JSON.stringify({ ...one, stream: true }), signal: c.signal }); await r.body!.getReader().read(); c.abort() },
  nomodel: () => post('/v1/chat/completions', { ...one, model: `none-${Math.random()}` }),
  nokey: () => post('/api/chat', one, { authorization: `Bearer sk-sotto-${Math.random()}` }),
  metrics: () => ask('/metrics'),
  openapi: () => ask('/openapi.json'),
  overview: () => ask('/sotto/admin/overview'),
  audit: () => ask('/sotto/admin/audit?limit=100'),
  usage: () => ask('/sotto/admin/usage'),
  conversations: () => ask('/sotto/conversations?search=turn'),
  page: () => ask('/'),
  session: async () => { const s = new WebSocket(origin.replace('https', 'wss') + '/v1/realtime', ['realtime.sotto.v1']); await once(s, 'message'); s.close(1000); await once(s, 'close') },
  openaiSession: async () => { const s = new WebSocket(origin.replace('https', 'wss') + '/v1/realtime', ['realtime']); await once(s, 'message'); s.terminate() },
  answer: async () => { const s = new WebSocket(origin.replace('https', 'wss') + '/v1/realtime', ['realtime.sotto.v1']); await once(s, 'message'); s.send(JSON.stringify({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'turn 1 at 1' }] } })); s.send(JSON.stringify({ type: 'response.create' })); await new Promise<void>((k) => s.on('message', (d) => { if (String(d).includes('"response.done"')) k() })); s.close(1000); await once(s, 'close') },
}
const wanted = process.argv[2]?.split(',') ?? Object.keys(kinds)
const n = Number(process.argv[3] ?? 300)
const times = async (task: () => Promise<unknown>, count: number) => { let left = count; await Promise.all(Array.from({ length: 8 }, async () => { while (left-- > 0) await task() })) }
for (const k of wanted) { await times(kinds[k]!, 100); await times(kinds[k]!, 100) }
await new Promise((s) => setTimeout(s, 1500))
for (const k of wanted) {
  await lookAt(pid); const a = await lookAt(pid)
  await times(kinds[k]!, n); await new Promise((s) => setTimeout(s, 1200)); await lookAt(pid)
  const b = await lookAt(pid)
  await times(kinds[k]!, n); await new Promise((s) => setTimeout(s, 1200)); await lookAt(pid)
  const c = await lookAt(pid)
  console.log(k.padEnd(14), 'heap', ((b.heap - a.heap) / n).toFixed(0), ((c.heap - b.heap) / n).toFixed(0), 'B/req; ext', ((c.external - b.external) / n).toFixed(0), 'rss', ((b.rss - a.rss) / n / 1024).toFixed(1), ((c.rss - b.rss) / n / 1024).toFixed(1), 'KiB/req; open', a.open, b.open, c.open, 'rss', (c.rss / 2 ** 20).toFixed(0), 'heap', (c.heap / 2 ** 20).toFixed(1))
}
if (process.env.HOLD) await new Promise((s) => setTimeout(s, 1e6))
await g.stop(); for (const s of started) s.kill(); await models.stop(); await folder.remove(); process.exit()
