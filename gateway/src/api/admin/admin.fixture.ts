/**
 * The admin's routes on loopback with a real registry and ledger. Its overlay is a part of 127/8, so that each
 * device calls from an address of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { makeAuthority } from '@sotto/certs/authority.ts'
import { openDatabase, type Database } from '@sotto/provisioning/database.ts'
import { enrol } from '@sotto/provisioning/enrolment/enrol.ts'
import { makeKeyPair } from '@sotto/provisioning/overlay/keys.ts'
import { makePlan } from '@sotto/provisioning/overlay/plan.ts'
import { readAccess } from '@sotto/provisioning/registry/access.ts'
import type { Device } from '@sotto/provisioning/registry/device.ts'
import { makeAdminCode } from '@sotto/provisioning/registry/confirmation.ts'
import { makeLink } from '@sotto/provisioning/registry/link.ts'
import { insertNetwork, requireNetwork } from '@sotto/provisioning/registry/network.ts'
import { ensurePerson } from '@sotto/provisioning/registry/person.ts'
import { readRegistry } from '@sotto/provisioning/registry/registry.ts'
import { Hono } from 'hono'
import { pino } from 'pino'
import { createEngines } from '#engines/discovery.ts'
import type { AppEnv } from '#identity/app-env.ts'
import { createDirectory } from '#identity/directory.ts'
import { createKeyring } from '#identity/keyring.ts'
import { openLedgerDatabase } from '#ledger/database.ts'
import type { AuditRow } from '#ledger/ledger.ts'
import { openRecords, type Records } from '#ledger/records.ts'
import { ownNames } from '#listener/origin.ts'
import { readConfig } from '../../config.ts'
import { meRoute } from '../me.ts'
import { openApiRoute } from '../openapi.ts'
import { register } from '../route.ts'
import { adminRoutes, type AdminDeps } from './admin.ts'

export interface ServeAdminOptions extends Partial<
  Pick<AdminDeps, 'speech' | 'images' | 'services' | 'mail' | 'outside'>
> {
  /** URL of a backend. */
  readonly ollama?: string
}

export interface Asked {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  /** Of what it answered. */
  json(): unknown
}

export interface Question {
  readonly method?: string
  /** Sent as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface ServedAdmin {
  readonly database: Database
  readonly records: Records
  readonly directory: string
  /** Of Ada, who is the admin. */
  readonly phone: Device
  /** Of Bob, who is not. */
  readonly tablet: Device
  /** An address of a one-time link. */
  readonly guest: string
  /** As a browser of the gateway's own page sends it. */
  readonly origin: string
  /** Asks from an address; left out, the gateway's own machine. */
  ask(path: string, question?: Question, from?: string): Promise<Asked>
  /** Confirms a browser at an address; gives its cookie. */
  confirm(from?: string): Promise<string>
  /** Asks as our own page does in a browser that was confirmed by `confirm`, at the same address. */
  change(method: string, path: string, body?: unknown, from?: string): Promise<Asked>
  /** Takes the registry up. */
  follow(): Promise<void>
  /** Writes rows as requests would. */
  record(...rows: Partial<AuditRow>[]): Promise<void>
  /** What is in the audit, the oldest first. */
  audit(): Promise<AuditRow[]>
  close(): Promise<void>
}

export async function serveAdmin(options: ServeAdminOptions = {}): Promise<ServedAdmin> {
  const directory = await mkdtemp(join(tmpdir(), 'sotto-admin-'))
  const certs = join(directory, 'certs')
  const log = pino({ level: 'silent' })
  const database = await openDatabase(join(directory, 'sotto.db'))
  const hub = makeKeyPair()
  await insertNetwork(database, {
    interface: 'test0',
    range4: '127.77.0.0/24',
    range6: 'fd12:3456:789a::/64',
    listenPort: 51_820,
    endpoint: 'home.example:51820',
    publicKey: hub.publicKey,
    gatewayPort: 8443,
  })
  const network = await requireNetwork(database)
  const ada = await ensurePerson(database, 'Ada')
  const { device: phone } = await enrol(database, network, { name: 'phone', person: ada })
  const bob = await ensurePerson(database, 'Bob')
  const { device: tablet } = await enrol(database, network, { name: 'tablet', person: bob })
  const { link } = await makeLink(database, network, { name: 'nas', person: ada })
  const engines = await createEngines({
    backends: [{ name: 'desk', url: options.ollama ?? 'http://127.0.0.1:9', kind: 'ollama', parallel: 2 }],
    log,
    everyMs: 60_000,
  })
  const ledger = join(directory, 'ledger.db')
  const records = await openRecords(readConfig({ state: directory }), { ledger, gateway: 'test' }, log)
  const identity = { directory: createDirectory(network), keyring: createKeyring() }
  const follow = async (): Promise<void> => {
    const access = await readAccess(database)
    identity.keyring.update(access)
    identity.directory.update(makePlan(network, hub.privateKey, await readRegistry(database)), access)
  }
  await follow()
  const deps: AdminDeps = {
    database,
    follow,
    certs,
    engines,
    reports: records.reports,
    spent: records.spent,
    speech: options.speech,
    images: options.images,
    services: options.services ?? [],
    hub: { find: () => undefined },
    relay: { meshes: [] },
    federation: {
      self: { meshId: 'sotto-home', name: 'home' },
      statusOf: () => undefined,
      waiting: () => ({ messages: 0, bytes: 0 }),
    },
    relayAddresses: () => ['wss://home.example:8444'],
    sharing: {
      all: [],
      get ours() {
        return engines.own.pool.models.map(({ name }) => name)
      },
    },
    aliases: { small: 'tiny' },
    mail: options.mail ?? false,
    outside: options.outside,
    facts: () => ({
      startedAt: new Date('2026-11-21T12:00:00Z'),
      origins: ['https://127.77.0.1:8443'],
      fingerprint: 'AB:CD',
      certificateExpiresAt: new Date('2027-01-01T00:00:00Z'),
      implementation: 'kernel',
      troubles: [],
    }),
  }
  const app = new Hono<AppEnv>()
  let port = 0
  const names = () => ownNames(['gateway.test'], port)
  const routes = [meRoute(deps), ...adminRoutes(deps)]
  register(app, [...routes, openApiRoute(routes)], { identity, names, recorder: records.recorder, log })
  const server = createServer(getRequestListener(app.fetch))
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  ;({ port } = server.address() as AddressInfo)
  await makeAuthority(certs, { name: 'Test', permitted: { dns: ['gateway.test'], ip: [] } })
  const origin = `https://gateway.test:${port}`
  const cookies = new Map<string, string>()
  const ask: ServedAdmin['ask'] = (path, { method = 'GET', body, headers = {} } = {}, from = host) =>
    new Promise((settle, fail) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const sent = request({
        host,
        port,
        path,
        method,
        localAddress: from,
        headers: {
          host: `gateway.test:${port}`,
          ...(text !== undefined && {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(text),
          }),
          ...headers,
        },
      })
      sent.once('error', fail)
      sent.once('response', (answer) => {
        let said = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => (said += chunk))
        answer.once('error', fail)
        answer.once('end', () =>
          settle({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            text: said,
            json: () => JSON.parse(said),
          }),
        )
      })
      sent.end(text)
    })
  const confirm = async (from = host): Promise<string> => {
    const body = { code: await makeAdminCode(database) }
    const { headers } = await ask(
      '/sotto/admin/confirmation',
      { method: 'POST', body, headers: { origin } },
      from,
    )
    const [cookie = ''] = headers['set-cookie']?.[0]?.split(';') ?? []
    cookies.set(from, cookie)
    return cookie
  }
  return {
    database,
    records,
    directory,
    phone,
    tablet,
    guest: link.address4,
    origin,
    follow,
    ask,
    confirm,
    async change(method, path, body, from = host) {
      const cookie = cookies.get(from) ?? (await confirm(from))
      return ask(`/sotto/admin/${path}`, { method, body, headers: { origin, cookie } }, from)
    },
    async record(...rows) {
      for (const row of rows) records.recorder.ledger.record({ ...plainRow, at: Date.now(), ...row })
      await records.flush()
    },
    async audit() {
      await records.flush()
      const opened = await openLedgerDatabase(ledger)
      const rows = await opened.selectFrom('audit').selectAll().orderBy('id').execute()
      await opened.destroy()
      return rows
    },
    async close() {
      server.closeAllConnections()
      await new Promise((settle) => server.close(settle))
      await engines.close()
      await records.close()
      await database.destroy()
      await rm(directory, { recursive: true })
    },
  }
}

const host = '127.0.0.1'

const plainRow = {
  request_id: 'req_1',
  tenant: 'home',
  person: 'Ada',
  device_id: 'd',
  device: 'phone',
  key_id: null,
  key: null,
  address: '127.77.0.2',
  method: 'POST',
  path: '/api/chat',
  service: 'chat',
  model: 'tiny',
  backend: 'desk',
  status: 200,
  refusal: null,
  input_tokens: 5,
  output_tokens: 3,
  counted: 'upstream',
  queued_ms: 0,
  first_byte_ms: 20,
  duration_ms: 90,
  ended: 'whole',
} as const
