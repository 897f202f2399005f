/**
 * The account's routes on loopback with a real registry and ledger. Its overlay is a part of 127/8, so that each
 * device calls from an address of its own; what comes from elsewhere in 127/8 comes from outside.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { openDatabase, type Database } from '@sotto/provisioning/database.ts'
import { enrol } from '@sotto/provisioning/enrolment/enrol.ts'
import { makeKeyPair } from '@sotto/provisioning/overlay/keys.ts'
import { makePlan } from '@sotto/provisioning/overlay/plan.ts'
import { readAccess } from '@sotto/provisioning/registry/access.ts'
import { makeAccountLink, useAccountLink } from '@sotto/provisioning/registry/account-link.ts'
import type { Device } from '@sotto/provisioning/registry/device.ts'
import { insertNetwork, requireNetwork } from '@sotto/provisioning/registry/network.ts'
import { ensurePerson } from '@sotto/provisioning/registry/person.ts'
import { readRegistry } from '@sotto/provisioning/registry/registry.ts'
import { Hono } from 'hono'
import { pino } from 'pino'
import { createGuards } from '#accounts/accounts.ts'
import { openConversations, type Conversations } from '#conversations/conversations.ts'
import { createEngines } from '#engines/discovery.ts'
import type { AppEnv } from '#identity/app-env.ts'
import { createDirectory } from '#identity/directory.ts'
import { strangers, type Identity } from '#identity/identify.ts'
import { createKeyring } from '#identity/keyring.ts'
import { openLedgerDatabase } from '#ledger/database.ts'
import type { AuditRow } from '#ledger/ledger.ts'
import { openRecords, type Records } from '#ledger/records.ts'
import { ownNames } from '#listener/origin.ts'
import type { Refusal } from '#protocol/devices.ts'
import { readConfig } from '../../config.ts'
import { openApiRoute } from '../openapi.ts'
import { register } from '../route.ts'
import { accountRoutes } from './account.ts'
import type { AccountDeps, AccountsConfig } from './deps.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  json(): unknown
  /** Status and code of a refusal. */
  refusal(): readonly [number, string]
}

export interface Asking {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Left out, `outside`. */
  readonly from?: string
}

/** A browser: it keeps the cookies that it is given. */
export interface Visitor {
  readonly from: string
  readonly cookies: Map<string, string>
  ask(
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer>
}

export interface ServedAccounts {
  readonly database: Database
  readonly records: Records
  readonly conversations: Conversations
  /** Of Ada, who is the admin; and of Bob, who is not. */
  readonly phone: Device
  readonly tablet: Device
  readonly origin: string
  readonly port: number
  /** Where it listens. */
  readonly url: string
  /** @param from left out, an address that is no device's */
  visitor(from?: string): Visitor
  /** Makes an account with a password, as an invitation does. */
  join(person: string, password: string, mail?: string): Promise<void>
  /** Signs somebody in. */
  signIn(who: string, password: string, from?: string): Promise<Visitor>
  audit(): Promise<AuditRow[]>
  close(): Promise<void>
}

const address = '127.0.0.1'
/** Of nobody’s device. */
export const elsewhere = '127.200.0.9'

export async function serveAccounts(options: Partial<AccountsConfig> = {}): Promise<ServedAccounts> {
  const folder = await mkdtemp(join(tmpdir(), 'sotto-accounts-'))
  const log = pino({ level: 'silent' })
  const database = await openDatabase(join(folder, 'sotto.db'))
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
  const engines = await createEngines({
    backends: [{ name: 'desk', url: 'http://127.0.0.1:9', kind: 'ollama', parallel: 2 }],
    log,
    everyMs: 60_000,
  })
  const ledger = join(folder, 'ledger.db')
  const records = await openRecords(readConfig({ state: folder }), { ledger, gateway: 'test' }, log)
  const conversations = await openConversations({ file: join(folder, 'conversations.db'), log })
  const identity = { directory: createDirectory(network), keyring: createKeyring() }
  const follow = async (): Promise<void> => {
    const access = await readAccess(database)
    identity.keyring.update(access)
    identity.directory.update(makePlan(network, hub.privateKey, await readRegistry(database)), access)
  }
  await follow()
  const deps: AccountDeps = {
    accounts: { signUp: false, tenant: 'home', mail: true, ...options },
    guards: createGuards(),
    admission: records.admission,
    conversations,
    database,
    engines,
    follow,
    forget: records.forget,
    hub: { find: () => undefined },
    reports: records.reports,
    services: [{ name: 'rerank' }],
    spent: records.spent,
    programs: true,
    lendTo: undefined,
    ca: async () => 'a certificate',
  }
  let port = 0
  const names = () => ownNames(['gateway.test', '127.77.0.1'], port)
  const appOf = (who: Identity): Hono<AppEnv> => {
    const app = new Hono<AppEnv>()
    const routes = accountRoutes(deps)
    register(app, [...routes, openApiRoute(routes)], {
      identity: who,
      names,
      recorder: records.recorder,
      log,
    })
    return app
  }
  const inside = getRequestListener(appOf(identity).fetch)
  const outside = getRequestListener(appOf(strangers).fetch)
  const server = createServer((asked, answer) =>
    (identity.directory.identify(asked.socket.remoteAddress) ? inside : outside)(asked, answer),
  )
  await new Promise<void>((settle) => server.listen(0, address, settle))
  ;({ port } = server.address() as AddressInfo)
  const origin = `https://gateway.test:${port}`

  const send = (
    method: string,
    path: string,
    { body, headers = {}, from = elsewhere }: Asking,
  ): Promise<Answer> =>
    new Promise((settle, fail) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const sent = request({
        host: address,
        port,
        path: `/sotto/account${path}`,
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
            refusal: () => [answer.statusCode ?? 0, (JSON.parse(said) as Refusal).error.code],
          }),
        )
      })
      sent.end(text)
    })
  const visitor = (from = elsewhere): Visitor => {
    const cookies = new Map<string, string>()
    return {
      from,
      cookies,
      async ask(method, path, body, headers = {}) {
        const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
        const answer = await send(method, path, {
          body,
          from,
          headers: { ...(method !== 'GET' && { origin }), ...(cookie !== '' && { cookie }), ...headers },
        })
        for (const set of answer.headers['set-cookie'] ?? []) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(set) ?? []
          if (value === '') cookies.delete(name)
          else cookies.set(name, value)
        }
        return answer
      },
    }
  }
  return {
    database,
    records,
    conversations,
    phone,
    tablet,
    origin,
    port,
    url: `http://${address}:${port}`,
    visitor,
    async join(person, password, mail) {
      const { id: personId } = await ensurePerson(database, person)
      const { token } = await makeAccountLink(database, { kind: 'invitation', personId, mail })
      await useAccountLink(database, token, { password })
      await follow()
    },
    async signIn(who, password, from) {
      const one = visitor(from)
      const answer = await one.ask('POST', '/session', { who, password })
      if (answer.status !== 204) throw new Error(answer.text)
      return one
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
      await conversations.close()
      await engines.close()
      await records.close()
      await database.destroy()
      await rm(folder, { recursive: true })
    },
  }
}
