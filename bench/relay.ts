/**
 * What the relay costs: a thousand meshes on one gateway, and what some of them broadcast, beside a bare `ws` server
 * of this machine with the same connections. The meshes are all in this process.
 */
import { once } from 'node:events'
import { join } from 'node:path'
import { openDatabase } from '@sotto/provisioning/database.ts'
import { hashSecret } from '@sotto/provisioning/registry/secret.ts'
import { execa } from 'execa'
import { WebSocket } from 'ws'
import { startGateway, temporaryDirectory } from '#test/lab/gateway.ts'
import { cpuOf, firstLine, keptBy } from './process.ts'
import { median, met, type Bench } from './report.ts'

const meshes = 1_000
const rounds = 3
/** Meshes that broadcast, and how much of it in a round: the relay takes sixty a minute of each. */
const senders = 8
const perSender = 6
const secret = 'sixteen letters!'
const payload = {
  type: 'new_message',
  message: { id: '1', roomName: 'kitchen', content: 'word '.repeat(40) },
}

export const relay: Bench = async (report) => {
  const folder = await temporaryDirectory()
  const { NODE_OPTIONS: before } = process.env
  Object.assign(process.env, {
    SOTTO_BENCH_MEMORY: folder.path,
    NODE_OPTIONS: `--expose-gc --import ${join(import.meta.dirname, 'memory.mjs')}`,
  })
  const state = join(folder.path, 'state')
  const gateway = await startGateway(undefined, state, '--loopback', '--port', '0')
  const certs = join(state, 'certs')
  const bare = execa(
    process.execPath,
    [join(import.meta.dirname, 'relay-bare.ts'), join(certs, 'leaf.crt'), join(certs, 'leaf.key')],
    { buffer: false, reject: false },
  )
  try {
    await register(state)
    const pids = { ours: Number(gateway.process.pid), bare: Number(bare.pid) }
    const urls = {
      ours: `${gateway.origins[0]?.replace('https', 'wss')}/gateway`,
      bare: `wss://127.0.0.1:${await firstLine(bare)}`,
    }
    const seen = {
      ours: await gather(urls.ours, pids.ours, true),
      bare: await gather(urls.bare, pids.bare, false),
    }
    // In turn, so that both have the same machine; the first round warms up.
    for (let round = 0; round <= rounds; round += 1)
      for (const one of [seen.ours, seen.bare]) await one.round(round > 0)
    for (const one of [seen.ours, seen.bare]) one.end()
    const share = seen.ours.perSecond / seen.bare.perSecond
    report({
      what: `messages relayed to ${meshes} meshes`,
      figure: `${seen.ours.perSecond.toFixed(0)}/s`,
      beside: `bare ws ${seen.bare.perSecond.toFixed(0)}/s`,
      target: `at least 0.5× bare: ${share.toFixed(2)}× ${met(share >= 0.5)}`,
      chart: {
        unit: 'messages/s',
        bars: { sotto: seen.ours.perSecond, 'bare ws': seen.bare.perSecond },
        limit: seen.bare.perSecond / 2,
      },
    })
    report({
      what: 'CPU of the relay for 1,000 messages',
      figure: `${seen.ours.cpu.toFixed(1)} ms`,
      beside: `bare ws ${seen.bare.cpu.toFixed(1)} ms`,
    })
    report({
      what: 'memory of a connected mesh',
      figure: `${(seen.ours.memory / 1024).toFixed(1)} KiB`,
      beside: `bare ws ${(seen.bare.memory / 1024).toFixed(1)} KiB`,
    })
  } finally {
    bare.kill('SIGTERM')
    await Promise.all([gateway.stop(), bare])
    if (before === undefined) delete process.env.NODE_OPTIONS
    else process.env.NODE_OPTIONS = before
    await folder.remove()
  }
}

/** Puts a thousand meshes of one secret into the registry: its slow hash is made once. */
async function register(state: string): Promise<void> {
  const database = await openDatabase(join(state, 'sotto.db'))
  const row = {
    secret_hash: await hashSecret(secret),
    created_at: new Date().toISOString(),
    last_at: null,
    address: null,
  }
  for (let from = 0; from < meshes; from += 100)
    await database
      .insertInto('meshes')
      .values(
        Array.from({ length: 100 }, (_, at) => ({ ...row, mesh_id: `m${from + at}`, name: `m${from + at}` })),
      )
      .execute()
  await database.destroy()
}

/** All that are connected to one server, what they cost it, and rounds of what some of them send. */
async function gather(url: string, pid: number, asMeshes: boolean) {
  const before = await keptBy([pid])
  const sockets: WebSocket[] = []
  const heard = { frames: 0, all: () => {} }
  const expected = senders * perSender * (meshes - 1)
  const hear = (): void => {
    heard.frames += 1
    if (heard.frames === expected) heard.all()
  }
  for (let number = 0; number < meshes; number += 1)
    sockets.push(await connect(url, asMeshes ? `m${number}` : undefined, hear))
  const memory = ((await keptBy([pid])) - before) / meshes
  const rates: number[] = []
  const cpus: number[] = []
  const frame = JSON.stringify(asMeshes ? { type: 'gateway_broadcast', payload } : { payload })
  return {
    memory,
    async round(counts: boolean): Promise<void> {
      heard.frames = 0
      const all = new Promise<void>((settle) => {
        heard.all = settle
      })
      const cpu = await cpuOf([pid])
      const start = performance.now()
      for (let count = 0; count < perSender; count += 1)
        for (const sender of sockets.slice(0, senders)) sender.send(frame)
      await all
      const seconds = (performance.now() - start) / 1_000
      if (!counts) return
      rates.push(expected / seconds)
      cpus.push((((await cpuOf([pid])) - cpu) / expected) * 1_000)
    },
    get perSecond() {
      return median(rates)
    },
    get cpu() {
      return median(cpus)
    },
    end() {
      for (const socket of sockets) socket.terminate()
    },
  }
}

/** @param heard called for each frame that comes once it is connected */
async function connect(url: string, meshId: string | undefined, heard: () => void): Promise<WebSocket> {
  // Its own certificate, of its own authority, for a moment.
  const socket = new WebSocket(url, { rejectUnauthorized: false, perMessageDeflate: false })
  await once(socket, 'open')
  if (meshId !== undefined) {
    socket.send(JSON.stringify({ type: 'gateway_auth', meshId, secret }))
    await once(socket, 'message')
  }
  socket.on('message', heard)
  return socket
}
