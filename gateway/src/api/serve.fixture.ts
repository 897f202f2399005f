/** The whole HTTP side on a loopback port, without TLS and overlay: for tests of what it answers. */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { readLeaf } from '@sotto/certs/leaf.ts'
import type { Access } from '@sotto/provisioning/registry/access.ts'
import { unlimited, type Allowance } from '@sotto/provisioning/registry/allowance.ts'
import type { Key } from '@sotto/provisioning/registry/key.ts'
import { hashSecret, makeSecret } from '@sotto/provisioning/registry/secret.ts'
import { Hono } from 'hono'
import { pino } from 'pino'
import { createEngines } from '#engines/discovery.ts'
import type { Images } from '#engines/images.ts'
import type { Speech } from '#engines/speech.ts'
import { createFriends, type Friends } from '#friends/friends.ts'
import { friendPath } from '#friends/protocol.ts'
import type { AppEnv } from '#identity/app-env.ts'
import { createDirectory } from '#identity/directory.ts'
import { createKeyring } from '#identity/keyring.ts'
import { openLedgerDatabase, type LedgerTables } from '#ledger/database.ts'
import { openRecords, type Records } from '#ledger/records.ts'
import { ownNames } from '#listener/origin.ts'
import { createValkey, type ValkeyConfig } from '#valkey/valkey.ts'
import { startNeighbours } from '#neighbours/start.ts'
import { createHub, type Hub } from '#tunnel/hub.ts'
import { readConfig } from '../config.ts'
import { anthropicRoutes } from './anthropic.ts'
import { healthRoutes } from './health.ts'
import { lentRoutes } from './lent.ts'
import { mediaRoutes } from './media.ts'
import { ollamaRoutes } from './ollama.ts'
import { openAiElsewhere, openAiRoutes } from './openai.ts'
import { openApiRoute } from './openapi.ts'
import { register, type Route } from './route.ts'
import { openService, serviceRoutes, type ServiceConfig } from './services.ts'

export interface ServeOptions {
  /** URLs of backends, in order; without one there is the demo. */
  readonly ollama?: string | readonly string[]
  readonly kind?: 'ollama' | 'openai'
  readonly parallel?: number
  readonly aliases?: Record<string, string>
  readonly whisper?: string
  /** Between two looks at the engines, ms. */
  readonly lookEveryMs?: number
  readonly speech?: Speech
  readonly images?: Images
  readonly services?: readonly ServiceConfig[]
  readonly origins?: readonly string[]
  /** Of the tenant `home`, to which everybody belongs. */
  readonly tenant?: Partial<Allowance>
  /** By name of the key. */
  readonly keys?: Record<
    string,
    Partial<Allowance> & Partial<Pick<Key, 'ranges' | 'promptLogMs' | 'expiresAt'>>
  >
  /** Where the ledger is; left out, in a directory of its own. */
  readonly ledger?: string
  readonly more?: readonly Route[]
  /** Between two pings of a tunnel, ms. */
  readonly pingEveryMs?: number
  /** Where limits are counted; left out, by itself. */
  readonly valkey?: ValkeyConfig | undefined
  /** Directory of a CA and a leaf, by which it has neighbours; left out, it has none. */
  readonly certs?: string
  readonly neighbourSecret?: string
  /** Of the gateway, for Valkey; left out, another than all others. */
  readonly id?: string
}

export interface ServedApi {
  readonly url: string
  /** The secrets of the keys, by name. */
  readonly secrets: Readonly<Record<string, string>>
  readonly records: Records
  /** Lenders dial `url`. */
  readonly hub: Hub
  /** They dial `url`, and a mesh's secret is `secret of ` and its id. */
  readonly friends: Friends
  /** The ledger's file. */
  readonly ledger: string
  /** Takes up other keys or allowances. */
  update(change: (access: Access) => Access): void
  /** Rows of a table of the ledger, when all is written. */
  rows(table: keyof LedgerTables): Promise<Record<string, unknown>[]>
  close(): Promise<void>
}

export const network = {
  interface: 'test0',
  range4: '10.77.0.0/24',
  range6: 'fd00::/64',
  listenPort: 51820,
  endpoint: null,
  publicKey: '',
  gatewayPort: null,
}

export async function serveApi(options: ServeOptions = {}): Promise<ServedApi> {
  const folder = await mkdtemp(join(tmpdir(), 'sotto-api-'))
  const file = options.ledger ?? join(folder, 'ledger.db')
  const log = pino({ level: 'silent' })
  const urls =
    typeof options.ollama === 'string' ? [options.ollama] : (options.ollama ?? ['http://127.0.0.1:9'])
  const engines = await createEngines({
    backends: urls.map((url, at) => ({
      name: `backend${at}`,
      url,
      kind: options.kind ?? 'ollama',
      parallel: options.parallel ?? 64,
    })),
    aliases: options.aliases ?? {},
    ...(options.whisper !== undefined && { whisper: { url: options.whisper, parallel: 1 } }),
    log,
    everyMs: options.lookEveryMs ?? 60_000,
  })
  const gateway = options.id ?? (options.valkey ? randomUUID() : 'test')
  const valkey = options.valkey && createValkey(options.valkey, gateway, log)
  const records = await openRecords(readConfig({ state: folder }), { ledger: file, gateway }, log, valkey)
  await valkey?.connect()
  const { access: first, secrets } = await accessOf(options)
  let access = first
  const identity = { directory: createDirectory(network), keyring: createKeyring() }
  const takeUp = (): void => {
    identity.directory.update({ devices: [], links: [] }, access)
    identity.keyring.update(access)
    records.endWhere((caller) => !identity.keyring.isCurrent(caller))
  }
  takeUp()
  const { admission, recorder } = records
  const deps = {
    engines,
    admission,
    recorder,
    limits: { keepAliveMs: 3_600_000, contextTokens: 32_768 },
    speech: options.speech,
    images: options.images,
  }
  const services = (options.services ?? []).map(openService)
  const models = [...openAiRoutes(deps), ...mediaRoutes(deps), ...anthropicRoutes(deps)]
  let port = 0
  const names = () => ownNames(['127.0.0.1', 'localhost'], port, options.origins)
  const lenders = new Set<string>()
  const hub = createHub({
    identity,
    names,
    recorder,
    engines,
    log,
    note: async ({ name }) => void lenders.add(name),
    ...(options.pingEveryMs !== undefined && { pingEveryMs: options.pingEveryMs }),
  })
  const leaf = options.certs === undefined ? undefined : await readLeaf(options.certs)
  const neighbours =
    valkey && options.certs !== undefined && leaf
      ? await startNeighbours({
          valkey,
          hub,
          engines,
          listen: { host: '127.0.0.1', port: 0 },
          certificate: leaf,
          certs: options.certs,
          secret: options.neighbourSecret ?? 'of the house',
          log,
        })
      : undefined
  const friends = createFriends({
    engines,
    api: deps,
    recorder,
    verify: async (meshId, secret) => (secret === `secret of ${meshId}` ? meshId : undefined),
    log,
    ...(options.pingEveryMs !== undefined && { pingEveryMs: options.pingEveryMs }),
  })
  const isKnown = async (_person: string, name: string) => lenders.has(name)
  const routes = [
    ...healthRoutes({
      engines,
      ready: records.healthy,
      connected: () => 0,
      troubles: () => [],
      valkey: () => valkey?.ready(),
      neighbours: () => neighbours?.count,
    }),
    ...models,
    ...ollamaRoutes(deps),
    ...serviceRoutes(services, deps),
    ...lentRoutes({
      api: deps,
      hub: { find: (person, name) => hub.find(person, name) ?? neighbours?.find(person, name) },
      isKnown,
    }),
    ...(options.more ?? []),
  ]
  const app = new Hono<AppEnv>()
  register(app, [...routes, openAiElsewhere(models), openApiRoute(routes)], {
    identity,
    names,
    recorder,
    log,
  })
  const server = createServer(getRequestListener(app.fetch))
  server.on('upgrade', (request, socket, head) => {
    if (request.url?.startsWith(friendPath)) friends.upgrade(request, socket, head)
    else hub.upgrade(request, socket, head)
  })
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  ;({ port } = server.address() as AddressInfo)
  return {
    url: `http://127.0.0.1:${port}`,
    secrets,
    records,
    hub,
    friends,
    ledger: file,
    update(change) {
      access = change(access)
      takeUp()
    },
    async rows(table) {
      await records.flush()
      const database = await openLedgerDatabase(file)
      const rows = await database
        .selectFrom(table as 'audit')
        .selectAll()
        .execute()
      await database.destroy()
      return rows
    },
    async close() {
      await friends.close()
      await neighbours?.close()
      await hub.close()
      await new Promise<void>((settle) => {
        server.close(() => settle())
        server.closeAllConnections()
      })
      await engines.close()
      for (const service of services) await service.close()
      await records.close()
      await valkey?.close()
      await rm(folder, { recursive: true })
    },
  }
}

async function accessOf({
  tenant,
  keys = {},
}: ServeOptions): Promise<{ access: Access; secrets: Record<string, string> }> {
  const home = { id: 'home', name: 'home', disabledAt: null }
  const allowances = new Map<string, Allowance>()
  if (tenant) allowances.set('tenant:home', { ...unlimited, ...tenant })
  const made: Key[] = []
  const secrets: Record<string, string> = {}
  for (const [name, { ranges = null, promptLogMs = null, expiresAt = null, ...allowance }] of Object.entries(
    keys,
  )) {
    const { prefix, text } = makeSecret()
    secrets[name] = text
    allowances.set(`key:${name}`, { ...unlimited, ...allowance })
    made.push({
      id: name,
      name,
      person: 'ada',
      personId: 'ada',
      deviceId: null,
      ranges,
      promptLogMs,
      createdAt: new Date().toISOString(),
      expiresAt,
      disabledAt: null,
      secrets: [{ prefix, hash: await hashSecret(text), expiresAt: null }],
    })
  }
  const access = {
    keys: made,
    tenants: new Map([['ada', home]]),
    host: home,
    admin: 'ada',
    allowances,
    until: Infinity,
  }
  return { access, secrets }
}
