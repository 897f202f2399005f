/** A real Valkey, or Redis, on loopback in a directory of its own. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@redis/client'

export interface Redis {
  /** `redis://127.0.0.1:PORT` */
  readonly url: string
  /** Of its process: to stop and continue it. */
  kill(signal: NodeJS.Signals): void
  /** Ends it as a cut of power would: what it had in memory is gone. */
  crash(): Promise<void>
  /** Starts it again at the same address, with nothing in it. */
  start(): Promise<void>
  /** What it answers to a command. */
  ask(...command: string[]): Promise<unknown>
  close(): Promise<void>
}

const programs = ['/usr/bin/valkey-server', '/usr/bin/redis-server']

/** @param more arguments of the server */
export async function startRedis(more: readonly string[] = [], password?: string): Promise<Redis> {
  const program = programs.find(existsSync)
  if (program === undefined) throw new Error('There is no Valkey: sudo apt-get install redis-server')
  const directory = await mkdtemp(join(tmpdir(), 'sotto-redis-'))
  const port = await freePort()
  let server: ChildProcess | undefined
  const url = `redis://127.0.0.1:${port}`
  const ask = async (command: readonly string[]): Promise<unknown> => {
    const client = createClient({
      url,
      ...(password !== undefined && { password }),
      socket: { reconnectStrategy: false },
    })
    client.on('error', () => {})
    try {
      await client.connect()
      return await client.sendCommand([...command])
    } finally {
      if (client.isOpen) client.destroy()
    }
  }
  const start = async (): Promise<void> => {
    const settings = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', directory, '--save', '', ...more]
    const started = spawn(program, settings, { stdio: ['ignore', 'ignore', 'inherit'] })
    server = started
    while ((await ask(['PING']).catch(() => undefined)) !== 'PONG') {
      if (started.exitCode !== null) throw new Error(`${program} ended with ${started.exitCode}.`)
      await sleep(20)
    }
  }
  const crash = async (): Promise<void> => {
    const running = server
    server = undefined
    if (!running) return
    running.kill('SIGKILL')
    if (running.signalCode === null && running.exitCode === null) await once(running, 'exit')
  }
  await start()
  return {
    url,
    kill: (signal) => void server?.kill(signal),
    crash,
    start,
    ask: (...command) => ask(command),
    async close() {
      await crash()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
