/** The container files say what the code does: there is no engine here to run them. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { firstPort } from '@sotto/provisioning/network.ts'
import { databaseSetting } from '@sotto/provisioning/postgres/setting.ts'
import { parse } from 'yaml'
import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { statusCommand } from '#commands/status.ts'
import { withUpOptions } from '#commands/up.ts'
import { readConfig } from '#config.ts'

const root = join(import.meta.dirname, '..', '..', '..')
const containerfile = await readFile(join(root, 'Containerfile'), 'utf8')
const { services, volumes } = parse(await readFile(join(root, 'compose.yaml'), 'utf8'))
const { gateway, ollama, postgres, valkey, whisper } = services

describe('compose.yaml', () => {
  it('has the gateway and what it can use, each as a user that is not root on a system that it can’t write to', () => {
    expect(Object.keys(services)).toEqual(['gateway', 'postgres', 'valkey', 'ollama', 'whisper'])
    for (const service of Object.values<Record<string, unknown>>(services)) {
      const user = [postgres, valkey].includes(service) ? '999:999' : '1000:1000'
      expect(service).toMatchObject({ user, read_only: true, cap_drop: ['ALL'] })
      expect(service).not.toHaveProperty('privileged')
    }
    expect(gateway.cap_add).toEqual(['NET_ADMIN'])
    for (const service of [ollama, postgres, valkey, whisper]) {
      expect(service).not.toHaveProperty('cap_add')
      expect(service).not.toHaveProperty('ports')
    }
  })

  it('starts the gateway with options that it takes, and engines where they listen', () => {
    const [up, ...options]: string[] = gateway.command
    expect(up).toBe('up')
    const given = options.map((one) => one.replace(/^\$\{SOTTO_ENDPOINT:.*\}$/, 'home.example.org'))
    const command = withUpOptions(new Command()).exitOverride().parse(given, { from: 'user' })
    const config = readConfig(command.opts())
    expect(config).toMatchObject({ endpoint: 'home.example.org', firstDevice: false })
    expect(config.ollama).toBe('http://ollama:11434')
    expect(containerfile).toContain('OLLAMA_HOST=0.0.0.0:11434')
    const at = whisper.command.indexOf('--port')
    expect(config.whisper).toBe(`http://whisper:${whisper.command[at + 1]}`)
  })

  it('publishes WireGuard’s port alone, and keeps the state where the gateway looks for it', () => {
    expect(gateway.ports).toEqual([`${firstPort}:${firstPort}/udp`])
    expect(gateway.devices).toEqual(['/dev/net/tun'])
    expect(gateway.volumes).toEqual([
      'state:/var/lib/sotto',
      './compose.config.yaml:/var/lib/sotto/config.yaml:ro',
    ])
    expect(ollama.volumes).toEqual(['models:/models'])
    expect(Object.keys(volumes)).toEqual(['state', 'database', 'models'])
    const [, place = ''] = /XDG_STATE_HOME=(\S+)/.exec(containerfile) ?? []
    expect(join(place, 'sotto')).toBe('/var/lib/sotto')
    expect(containerfile).toContain('OLLAMA_MODELS=/models')
  })

  it('has the gateway’s state in PostgreSQL, by a password that the environment gives to both', async () => {
    const { url } = databaseSetting.parse(
      parse(await readFile(join(root, 'compose.config.yaml'), 'utf8')).database,
    )
    const { POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD } = postgres.environment
    expect(url).toBe(`postgres://${POSTGRES_USER}@postgres/${POSTGRES_DB}`)
    expect(POSTGRES_PASSWORD).toMatch(/^\$\{SOTTO_DATABASE_PASSWORD:\?/)
    expect(gateway.environment).toEqual({ SOTTO_DATABASE_PASSWORD: POSTGRES_PASSWORD })
  })

  it('counts limits in Valkey, which forgets nothing for want of memory', async () => {
    const { valkey: url } = parse(await readFile(join(root, 'compose.config.yaml'), 'utf8'))
    expect(url).toBe('redis://valkey:6379')
    expect(gateway.depends_on).toContain('valkey')
    expect(valkey.command.slice(-2)).toEqual(['--maxmemory-policy', 'noeviction'])
  })

  it('asks the gateway itself how it is', () => {
    const [, sotto, status, ...options] = gateway.healthcheck.test
    expect([sotto, status]).toEqual(['sotto', 'status'])
    const known = statusCommand({ result: () => {} }).options.map(({ long }) => long)
    expect(known).toEqual(expect.arrayContaining(options))
  })
})

describe('the Containerfile', () => {
  it('has the Node and pnpm that launch.mjs pins', async () => {
    const launch = await readFile(join(root, 'launch.mjs'), 'utf8')
    const [, node, pnpm] = /pinned = \{ node: '([\d.]+)', pnpm: '([\d.]+)' \}/.exec(launch) ?? []
    const images = [...containerfile.matchAll(/^FROM \S+\/node:([\d.]+)-/gm)].map(([, version]) => version)
    expect(images).toEqual([node, node])
    expect(containerfile).toContain(`pnpm@${pnpm}\n`)
  })

  it('has a target for each that compose.yaml builds, and none of them ends as root', () => {
    for (const { build } of [gateway, ollama]) {
      const stage = containerfile.split(/^FROM /m).find((text) => text.includes(` AS ${build.target}\n`))
      expect(stage, build.target).toMatch(/^USER 1000:1000$/m)
    }
  })
})
