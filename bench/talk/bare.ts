/**
 * The same three requests one after another by a bare Node program, for nobody: what the way to the engines and
 * back costs on this machine before any gateway. Says when each turn began and when its sound was there.
 */
import { Agent, request, type IncomingMessage } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { wavHeader } from '@sotto/gateway/engines/wav.ts'
import { inputSampleRate } from '@sotto/gateway/protocol/frame.ts'
import { now } from './clock.ts'

const [, , whisper = '', ollama = '', speech = '', turns = ''] = process.argv
const agent = new Agent({ keepAlive: true })

function ask(url: string, body: Buffer | string): Promise<IncomingMessage> {
  return new Promise((settle, fail) => {
    const headers = { 'content-length': Buffer.byteLength(body) }
    request(url, { method: 'POST', agent, headers }, settle).once('error', fail).end(body)
  })
}

/** What came up to a place in it. */
async function until(response: IncomingMessage, mark: string | undefined): Promise<string> {
  let text = ''
  return new Promise((settle) => {
    response.on('data', (part: Buffer) => {
      text += part.toString()
      if (mark !== undefined && text.includes(mark)) settle(text)
    })
    response.on('end', () => settle(text))
  })
}

const bytes = 4 * inputSampleRate
const recording = Buffer.concat([wavHeader(inputSampleRate, bytes), Buffer.alloc(bytes)])
const told: { spoken: number; paused: number; ended: number }[] = []
const sounds: { turn: string; at: number }[] = []
for (let turn = 0; turn < Number(turns); turn += 1) {
  await pause(1_500)
  const began = now()
  const words = await until(await ask(`${whisper}/inference`, recording), undefined)
  const messages = [{ role: 'user', content: words }]
  const answer = await until(await ask(`${ollama}/api/chat`, JSON.stringify({ messages })), ' and')
  const said = /turn \d+ at \d+/.exec(answer)?.[0] ?? ''
  const sound = await ask(`${speech}/v1/audio/speech`, JSON.stringify({ input: said }))
  await new Promise((settle) => sound.once('data', settle))
  const at = now()
  sound.resume()
  told.push({ spoken: began, paused: began, ended: began })
  sounds.push({ turn: said, at })
}
const sessions = [{ turns: told, sounds, hushes: [], failures: [] }]
process.stdout.write(`{}\n${JSON.stringify({ sessions, talkedSeconds: Number(turns) * 2, delayP99: 0 })}\n`)
process.exit(0)
