/** The doctor on real states, with real servers and programs of the test's own in place of the system's. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeAuthority } from '@sotto/certs/authority.ts'
import { ensureLeaf } from '@sotto/certs/leaf.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase } from '#database.ts'
import { changeEndpoint, ensureNetwork } from '#network.ts'
import { hubAddresses } from '#overlay/addresses.ts'
import { makeState } from '../state.ts'
import type { Context } from './check.ts'
import { diagnose } from './doctor.ts'

let directory: string
let context: Context
const path = process.env.PATH
const closers: (() => unknown)[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sotto-doctor-'))
  const state = await makeState(join(directory, 'state'))
  const database = await openDatabase(state.database)
  closers.push(() => database.destroy())
  const { network } = await ensureNetwork(state, database, { endpoint: '198.51.100.7' })
  context = { state, database, network, ollama: 'http://127.0.0.1:9', whisper: undefined, now: new Date() }
})
afterEach(async () => {
  process.env.PATH = path
  for (const close of closers.splice(0)) await close()
  await rm(directory, { recursive: true })
})

/** What one check finds. */
async function find(code: string, changed: Partial<Context> = {}) {
  const found = (await diagnose({ ...context, ...changed })).find((one) => one.code === code)
  expect(found).toBeDefined()
  return found
}

/** Puts a program before the system's. */
async function program(name: string, script: string): Promise<void> {
  const folder = join(directory, 'bin')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`)
  await chmod(join(folder, name), 0o755)
  process.env.PATH = `${folder}:${path}`
}

async function serve(answers: Record<string, unknown>): Promise<string> {
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? '']
    response.writeHead(answer === undefined ? 404 : 200).end(JSON.stringify(answer ?? {}))
  })
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  closers.push(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('sotto doctor', () => {
  it('says of everything that is wrong what mends it', async () => {
    for (const { code, status, remedy } of await diagnose(context))
      if (status === 'failed' || status === 'warning') expect(remedy, code).toMatch(/\S/)
  })

  it('finds what others may read', async () => {
    expect(await find('state_private')).toMatchObject({ status: 'ok' })
    await chmod(context.state.hubKey, 0o644)
    expect(await find('state_private')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('hub.key'),
      remedy: `sudo chmod -R go= ${context.state.directory}`,
    })
  })

  it('finds an endpoint that devices can’t dial', async () => {
    const at = async (endpoint: string) =>
      find('endpoint', { network: await changeEndpoint(context.database, context.network, endpoint) })
    expect(await find('endpoint')).toMatchObject({ status: 'ok' })
    expect(await at('192.168.1.5')).toMatchObject({
      status: 'warning',
      remedy: expect.stringContaining('forward UDP'),
    })
    expect(await at('127.0.0.1')).toMatchObject({ status: 'failed' })
    expect(await at('nowhere.invalid')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('does not resolve'),
    })
    expect(await find('endpoint', { network: { ...context.network, endpoint: null } })).toMatchObject({
      status: 'failed',
    })
  })

  it('finds a firewall that drops our port, and none where a rule lets it in', async () => {
    const chain = (table: string) => ({
      chain: { family: 'inet', table, name: 'input', hook: 'input', policy: 'drop' },
    })
    const rule = (table: string, port: number) => ({
      rule: { table, chain: 'input', expr: [{ match: { right: port } }] },
    })
    const ruleset = (...nftables: object[]) => program('nft', `echo '${JSON.stringify({ nftables })}'`)
    await ruleset(chain('ufw'))
    expect(await find('firewall')).toMatchObject({
      status: 'warning',
      remedy: `sudo ufw allow ${context.network.listenPort}/udp`,
    })
    await ruleset(chain('filter'), rule('filter', context.network.listenPort))
    expect(await find('firewall')).toMatchObject({ status: 'ok' })
    await program('nft', 'exit 1')
    expect(await find('firewall')).toMatchObject({ status: 'skipped' })
  })

  it('finds certificates that end, are missing or are for other addresses', async () => {
    expect(await find('certificates')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('no CA'),
    })
    const { range4, range6 } = context.network
    const authority = await makeAuthority(context.state.certs, {
      name: 'Sotto CA',
      permitted: { dns: ['sotto.internal'], ip: [range4, range6] },
    })
    expect(await find('certificates')).toMatchObject({
      status: 'warning',
      message: expect.stringContaining('no leaf'),
    })
    await ensureLeaf(authority, context.state.certs, { names: ['sotto.internal'] })
    expect(await find('certificates')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('does not speak for'),
    })
    await ensureLeaf(authority, context.state.certs, { names: Object.values(hubAddresses(context.network)) })
    expect(await find('certificates')).toMatchObject({ status: 'ok' })
    const late = new Date(authority.intermediateNotAfter.getTime() - 20 * 86_400_000)
    await ensureLeaf(authority, context.state.certs, {
      names: Object.values(hubAddresses(context.network)),
      now: late,
    })
    expect(await find('certificates', { now: late })).toMatchObject({
      status: 'warning',
      message: expect.stringContaining('ends in'),
    })
  })

  it('finds a clock before the CA’s time, or kept by nobody', async () => {
    await makeAuthority(context.state.certs, {
      name: 'Sotto CA',
      permitted: { dns: ['sotto.internal'], ip: [] },
    })
    await program('timedatectl', 'echo yes')
    expect(await find('clock')).toMatchObject({ status: 'ok' })
    expect(await find('clock', { now: new Date('2001-01-01') })).toMatchObject({
      status: 'failed',
      remedy: 'sudo timedatectl set-ntp true',
    })
    await program('timedatectl', 'echo no')
    expect(await find('clock')).toMatchObject({ status: 'warning' })
  })

  it('finds engines that do not answer, or have nothing to answer with', async () => {
    expect(await find('ollama')).toMatchObject({
      status: 'failed',
      remedy: expect.stringContaining('ollama serve'),
    })
    const bare = await serve({ '/api/version': { version: '0.24.0' }, '/api/tags': { models: [] } })
    expect(await find('ollama', { ollama: bare })).toMatchObject({
      status: 'warning',
      remedy: 'ollama pull llama3.2',
    })
    const full = await serve({
      '/api/version': { version: '0.24.0' },
      '/api/tags': { models: [{ name: 'tiny' }] },
    })
    expect(await find('ollama', { ollama: full })).toMatchObject({
      status: 'ok',
      message: '0.24.0 with 1 model',
    })
    expect(await find('whisper')).toMatchObject({ status: 'skipped' })
    expect(await find('whisper', { whisper: 'http://127.0.0.1:9' })).toMatchObject({ status: 'failed' })
    const healthy = await serve({ '/health': { status: 'ok' } })
    for (const url of [healthy, healthy.replace('http:', 'tcp:')])
      expect(await find('whisper', { whisper: url })).toMatchObject({ status: 'ok' })
    expect(await find('whisper', { whisper: 'tcp://127.0.0.1:9' })).toMatchObject({ status: 'failed' })
  })

  it('finds programs that are missing, and a check that breaks breaks no other', async () => {
    process.env.PATH = join(directory, 'none')
    const findings = await diagnose(context)
    expect(findings.map(({ code }) => code)).toContain('ollama')
    expect(findings.find(({ code }) => code === 'firewall')).toMatchObject({ status: 'skipped' })
  })
})
