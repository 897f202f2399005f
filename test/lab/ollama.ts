/** The real Ollama where the machine has one, on a tiny model of random weights; else the stand-in. */
import { accessSync, constants } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { writeTinyModel } from '../setup/tiny-model.ts'
import { startStandIn } from './gateway.ts'
import type { Host } from './lab.ts'

export interface TestOllama {
  readonly url: string
  readonly model: string
  /** Whether it is the real one. */
  readonly real: boolean
  stop(): Promise<void>
}

/** Lets it take tools: what it says in the form of `.ToolCalls` is a call of one. */
const template =
  '{{ range .Messages }}{{ .Content }}{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}{{ end }}{{ range .Tools }}{{ . }}{{ end }}'

/** Fewer tokens than the model has words: past them it would say one word for ever. */
const modelfile = (weights: string) => `FROM ${weights}
TEMPLATE """${template}"""
PARAMETER temperature 0
PARAMETER seed 7
PARAMETER num_predict 24
PARAMETER num_thread 1
PARAMETER repeat_penalty 1.5
PARAMETER repeat_last_n 64
`

/** @param directory for the model and Ollama's own files; none of the person's are touched */
export async function startOllama(host: Host | undefined, directory: string): Promise<TestOllama> {
  const binary = findOllama()
  if (binary === undefined) {
    const standIn = await startStandIn(host, 'ollama')
    return { ...standIn, model: 'stand-in:latest', real: false }
  }
  const weights = join(directory, 'tiny.gguf')
  await writeTinyModel(weights)
  await writeFile(join(directory, 'Modelfile'), modelfile(weights))
  const address = '127.0.0.1:21434'
  const env = {
    HOME: directory,
    OLLAMA_MODELS: join(directory, 'models'),
    OLLAMA_HOST: address,
    OLLAMA_NO_CLOUD: '1',
  }
  const settings = { env, stdio: 'ignore' } as const
  const start = (...args: string[]) =>
    host ? host.start(binary, args, settings) : execa(binary, args, { ...settings, reject: false })
  const server = start('serve')
  // `ollama list` waits for nothing: it fails until the server answers.
  for (let attempt = 0; (await start('list')).exitCode !== 0; attempt += 1)
    if (attempt === 200) throw new Error(`${binary} does not come up`)
  const created = await start('create', 'sotto-tiny', '-f', join(directory, 'Modelfile'))
  if (created.exitCode !== 0) throw new Error(`${binary} did not take the tiny model`)
  return {
    url: `http://${address}`,
    model: 'sotto-tiny:latest',
    real: true,
    async stop() {
      server.kill('SIGTERM')
      await server
    },
  }
}

function findOllama(): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/local/bin']
  return folders
    .map((folder) => join(folder, 'ollama'))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}
