/**
 * Composition: state → network → certificates → interface → engines → listener. The only file that wires.
 * `start` gives a running gateway and the way to close it, so that a test starts the real thing.
 */
import { readFile } from 'node:fs/promises'
import { hostname, networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { loadAuthority, loadOrMakeAuthority, type Authority } from '@sotto/certs/authority.ts'
import { ensureLeaf, keepLeaf } from '@sotto/certs/leaf.ts'
import { resumeSwitch, trustedRoots } from '@sotto/certs/rollover.ts'
import { openDatabase, type Database } from '@sotto/provisioning/database.ts'
import { enrol, type Enrolment } from '@sotto/provisioning/enrolment/enrol.ts'
import { createExchange, type Exchange } from '@sotto/provisioning/enrolment/exchange.ts'
import { checkRoutes, ensureNetwork, type OpenNetwork } from '@sotto/provisioning/network.ts'
import { hubAddresses } from '@sotto/provisioning/overlay/addresses.ts'
import { makePlan, type Plan } from '@sotto/provisioning/overlay/plan.ts'
import { Problem } from '@sotto/provisioning/problem.ts'
import { readAccess } from '@sotto/provisioning/registry/access.ts'
import {
  readRevision,
  requireNetwork,
  setFollowed,
  setGatewayPort,
  type Network,
} from '@sotto/provisioning/registry/network.ts'
import { noteLender } from '@sotto/provisioning/registry/lender.ts'
import { ensurePerson, listPeople } from '@sotto/provisioning/registry/person.ts'
import { readRegistry } from '@sotto/provisioning/registry/registry.ts'
import { recordTraffic } from '@sotto/provisioning/registry/traffic.ts'
import { watchRegistry } from '@sotto/provisioning/registry/watch.ts'
import { gatewayId, lockState, makeState, type State } from '@sotto/provisioning/state.ts'
import { keepInterface, type Keeper, type KeeperEvents } from '@sotto/provisioning/wireguard/keeper.ts'
import pino, { type Logger } from 'pino'
import { openAccounts, originOf, type Accounts } from '#accounts/accounts.ts'
import type { Facts } from '#api/admin/overview.ts'
import type { EngineLimits } from '#api/body.ts'
import { openService } from '#api/services.ts'
import { openConversations, type Conversations } from '#conversations/conversations.ts'
import { createEngines, type EngineOptions } from '#engines/discovery.ts'
import type { Engines } from '#engines/engine.ts'
import { createImages } from '#engines/images.ts'
import { createModelStore, type ModelStore } from '#engines/model-store.ts'
import { createSpeech } from '#engines/speech.ts'
import { createDirectory, normal, type Directory } from '#identity/directory.ts'
import { relayAddressesOf } from '#federation/addresses.ts'
import { relayPath } from '#federation/frames.ts'
import { createRelayHttp } from '#federation/relay-http.ts'
import { createRelaySockets, type RelaySockets } from '#federation/relay-sockets.ts'
import { startFederation, type RunningFederation } from '#federation/start.ts'
import { friendPath } from '#friends/protocol.ts'
import { startSharing, type Sharing } from '#friends/start.ts'
import type { Identity } from '#identity/identify.ts'
import { createKeyring, type Keyring } from '#identity/keyring.ts'
import { openRecords, type Records } from '#ledger/records.ts'
import { listen, type Listener } from '#listener/listener.ts'
import { ownNames, type OwnNames } from '#listener/origin.ts'
import { secretOf } from '#neighbours/door.ts'
import { startNeighbours } from '#neighbours/start.ts'
import { createRealtime, type Realtime } from '#realtime/socket.ts'
import { loadVoiceActivity } from '#realtime/voice-activity.ts'
import { announce } from './announcement.ts'
import { openRooms, type Rooms } from '#rooms/rooms.ts'
import { createHub, type Hub } from '#tunnel/hub.ts'
import { openOutside, outsideNames, tunnelAuthority, type Pages, type TunnelConfig } from '#tunnel/outside.ts'
import { tunnelPath } from '#tunnel/protocol.ts'
import { createValkey, type Valkey } from '#valkey/valkey.ts'
import { createApp, createOutsideApp, createPlainApp, costOutside, type AppDeps } from './app.ts'
import { defaultParallel, type GatewayConfig } from './config.ts'

export interface Gateway {
  /** `https://…`, the one to open first. */
  readonly origins: readonly string[]
  readonly state: State
  readonly network: Network
  readonly fingerprint: string
  /** The overlay, or why there is none and the gateway is on loopback alone. */
  readonly overlay: Keeper | Problem
  /** The admin's first device, when this start added it: its config is shown now or never. */
  readonly firstDevice?: Enrolment
  readonly engines: Engines
  close(): Promise<void>
}

/** How a start tells what it is doing. */
export interface Progress {
  step<T>(title: string, task: () => Promise<T>, done: (result: T) => string): Promise<T>
  /** Something changed while serving: for people, one line. */
  notice(text: string): void
}

export interface Surroundings {
  /** Directory of the built web app. */
  readonly web: string
  /** Whose gateway it is: the first person. */
  readonly admin: string
  readonly progress: Progress
}

/** Overlay names that the leaf and the CA's constraints cover beside the addresses. */
const overlayName = 'sotto.internal'
const loopbackNames = ['localhost', '127.0.0.1', '::1']

/** Starts everything or throws a `Problem`, having closed what it had opened. */
export async function start(config: GatewayConfig, around: Surroundings): Promise<Gateway> {
  const opened: (() => unknown)[] = []
  const close = async (): Promise<void> => {
    for (const closer of opened.splice(0).toReversed()) await closer()
  }
  try {
    return await open(config, around, (closer) => opened.push(closer), close)
  } catch (error) {
    await close()
    throw error
  }
}

async function open(
  config: GatewayConfig,
  around: Surroundings,
  onClose: (closer: () => unknown) => void,
  close: () => Promise<void>,
): Promise<Gateway> {
  const { progress } = around
  const state = await progress.step(
    'State',
    () => makeState(config.state),
    ({ directory }) => directory,
  )
  onClose(lockState(state))
  const log = openLog(state)
  const database = await openDatabase(state.database)
  onClose(() => database.destroy())
  const hub = await progress.step(
    'Network',
    () =>
      ensureNetwork(state, database, {
        ...(config.endpoint !== undefined && { endpoint: config.endpoint }),
        ...(config.range !== undefined && { range: config.range }),
      }),
    ({ network, made }) => `${network.range4} and ${network.range6}${made ? ', made now' : ''}`,
  )
  const { network } = hub
  const certificates = await progress.step(
    'Certificates',
    () => openCertificates(state, network),
    ({ authority, made }) => `${authority.name}${made ? ', made now' : ''}`,
  )
  const directory = createDirectory(network)
  const keyring = createKeyring()
  const identity = { directory, keyring }
  const exchange = createExchange(hub.privateKey)
  const plan = makePlan(network, hub.privateKey, await readRegistry(database))
  const overlay = await openOverlay(config, {
    state,
    database,
    hub,
    plan,
    directory,
    exchange,
    log,
    progress,
  })
  if (!(overlay instanceof Problem)) onClose(() => overlay.close())
  const models = createModelStore(join(state.directory, 'models'))
  const engines = await progress.step(
    'Engines',
    () => createEngines(engineOptions(config, models, log)),
    ({ states }) => `${states.chat.kind}, ${states.transcription.kind}`,
  )
  onClose(() => engines.close())
  const gateway = gatewayId(state)
  const valkey = config.valkey && createValkey(config.valkey, gateway, log)
  const records = await openRecords(config, { ...state, gateway }, log, valkey)
  onClose(() => records.close())
  if (valkey) {
    await progress.step('Valkey', valkey.connect, () =>
      valkey.ready()
        ? 'limits and budgets are counted there'
        : 'away: whoever has limits is refused until it is back',
    )
    onClose(() => valkey.close())
  }
  const conversations = await openConversations({ file: state.conversations, log })
  onClose(() => conversations.close())
  const accounts = await openAccounts(config, database, log)
  onClose(() => accounts.close())
  const friends = await startFederation({
    database,
    file: state.federation,
    recorder: records.recorder,
    log,
  })
  onClose(() => friends.close())
  const { admission, recorder } = records
  const rooms = await openRooms({
    file: state.rooms,
    federation: friends.federation,
    people: () => listPeople(database),
    engines,
    admission,
    recorder,
    log,
  })
  onClose(() => rooms.close())
  const limits = {
    keepAliveMs: config.file.limits.keepAlive,
    contextTokens: config.file.limits.contextTokens,
  }
  const sharing = startSharing({
    database,
    engines,
    api: { admission, recorder, limits },
    recorder,
    verify: friends.verify,
    log,
  })
  onClose(() => sharing.close())
  const wanted = overlay instanceof Problem ? ['127.0.0.1', '::1'] : Object.values(hubAddresses(network))
  const addresses = wanted.filter(isOurs)
  // What a request may want to follow needs the listener, and the listener the app that asks for it.
  let follow = async (): Promise<number> => Infinity
  const startedAt = new Date()
  let origins: readonly string[] = []
  let { notAfter } = certificates.leaf
  const listener = await serve(config, {
    ...around,
    database,
    exchange,
    follow: () => follow(),
    addresses,
    certificates,
    certs: state.certs,
    identity,
    records,
    valkey,
    neighbourSecret: secretOf(hub.privateKey),
    conversations,
    accounts,
    rooms,
    friends,
    sharing,
    limits,
    engines,
    models,
    network,
    facts: () => ({
      startedAt,
      origins,
      fingerprint: certificates.authority.fingerprint,
      certificateExpiresAt: notAfter,
      implementation: overlay instanceof Problem ? undefined : overlay.implementation,
    }),
    log,
    onClose,
  })
  onClose(() => listener.close())
  origins = addresses.map((address) => origin(address, listener.port))
  if (!(overlay instanceof Problem)) await overlay.open(listener.port)
  await setGatewayPort(database, listener.port)
  const takeUpAll = takeUp({
    database,
    hub,
    identity,
    records,
    exchange,
    overlay,
    friends,
    sharing,
    listener,
    log,
  })
  follow = async () => {
    accounts.look()
    return takeUpAll()
  }
  const until = await follow()
  onClose(
    watchRegistry(database, until, follow, (error) =>
      log.error({ err: error }, 'the registry could not be taken up'),
    ),
  )
  onClose(
    keepLeaf(
      () => loadAuthority(state.certs),
      state.certs,
      { names: leafNames(network) },
      (leaf) => {
        listener.renew(leaf)
        ;({ notAfter } = leaf)
      },
      (error) => log.error({ err: error }, 'the leaf could not be renewed'),
    ),
  )
  // Without an interface its config would be shown, once, for nothing.
  const firstDevice =
    overlay instanceof Problem
      ? undefined
      : await firstEnrolment(database, network, around.admin, config.firstDevice)
  // Its first handshake must not come before we know it: the next one is five seconds later.
  if (firstDevice) await follow()
  onClose(
    await announce(state, {
      origins,
      relay: relayAddressesOf(config.file, network, listener.port),
      accounts: accounts.outside,
      mail: accounts.config.mail,
    }),
  )
  log.info(
    { origins, overlay: overlay instanceof Problem ? overlay.code : overlay.implementation },
    'serving',
  )
  return {
    origins,
    state,
    network,
    fingerprint: certificates.authority.fingerprint,
    overlay,
    ...(firstDevice && { firstDevice }),
    engines,
    close,
  }
}

function engineOptions(
  { file, ollama, whisper = file.whisper?.url }: GatewayConfig,
  store: ModelStore,
  log: Logger,
): EngineOptions {
  return {
    backends: file.backends ?? [{ name: 'ollama', url: ollama, kind: 'ollama', parallel: defaultParallel }],
    aliases: file.aliases,
    ...(whisper !== undefined && { whisper: { url: whisper, parallel: file.whisper?.parallel ?? 1 } }),
    embedded: { store, ...(file.embedded !== undefined && { whisper: file.embedded }) },
    log,
  }
}

function openLog(state: State): Logger {
  const redact = ['req.headers.authorization', 'req.headers["x-api-key"]']
  return pino({ level: 'info', redact }, pino.destination({ dest: state.log, sync: false, mode: 0o600 }))
}

interface Certificates {
  readonly authority: Authority
  readonly made: boolean
  readonly leaf: Awaited<ReturnType<typeof ensureLeaf>>
}

async function openCertificates(state: State, network: Network): Promise<Certificates> {
  await resumeSwitch(state.certs)
  const { authority, made } = await loadOrMakeAuthority(state.certs, {
    name: `Sotto CA of ${hostname()}`,
    permitted: {
      dns: [overlayName, 'localhost'],
      ip: [network.range4, network.range6, '127.0.0.1/32', '::1/128'],
    },
  })
  return { authority, made, leaf: await ensureLeaf(authority, state.certs, { names: leafNames(network) }) }
}

function leafNames(network: Network): string[] {
  return [...Object.values(hubAddresses(network)), overlayName, ...loopbackNames]
}

interface OverlayDeps {
  readonly state: State
  readonly database: Database
  readonly hub: OpenNetwork
  readonly plan: Plan
  readonly directory: Directory
  readonly exchange: Exchange
  readonly log: Logger
  readonly progress: Progress
}

/** The kept interface; or the `Problem` for which there is none, and then we serve on loopback alone. */
async function openOverlay(config: GatewayConfig, deps: OverlayDeps): Promise<Keeper | Problem> {
  if (config.loopback) return new Problem('loopback', 'Serving on loopback alone, as --loopback says.')
  const { database, exchange, hub, log, plan, progress, state } = deps
  deps.directory.update(plan)
  const events: KeeperEvents = {
    mended(what) {
      log.warn({ what }, 'the interface was changed from outside and is right again')
      progress.notice(`The WireGuard ${what} had been changed from outside: mended.`)
    },
    failed: (error) => log.error({ err: error }, 'the interface can not be kept'),
    async looked(peers, fresh) {
      exchange.observe(peers)
      // Counters go on counting: the interface is kept, and let go, whatever the database does.
      await recordTraffic(database, peers, fresh).catch((error: unknown) =>
        log.error({ err: error }, 'the traffic could not be written down'),
      )
    },
  }
  const raise = async (): Promise<Keeper> => {
    await checkRoutes(hub.network.range4, [hub.network.interface])
    return keepInterface(hub, state.directory, plan, events)
  }
  return progress.step(
    'WireGuard',
    () =>
      raise().catch((error: unknown) => {
        if (error instanceof Problem) return error
        throw error
      }),
    (kept) =>
      kept instanceof Problem ? `none: ${kept.message}` : `${hub.network.interface}, ${kept.implementation}`,
  )
}

interface ServeDeps extends Surroundings {
  readonly addresses: readonly string[]
  readonly certificates: Certificates
  /** Directory of the CA. */
  readonly certs: string
  readonly identity: Identity
  readonly records: Records
  readonly valkey: Valkey | undefined
  readonly neighbourSecret: string
  readonly conversations: Conversations
  readonly accounts: Accounts
  readonly rooms: Rooms
  readonly friends: RunningFederation
  readonly sharing: Sharing
  readonly limits: EngineLimits
  readonly engines: Engines
  readonly models: ModelStore
  readonly network: Network
  readonly database: Database
  readonly exchange: Exchange
  facts(): Facts
  follow(): Promise<unknown>
  readonly log: Logger
  onClose(closer: () => unknown): void
}

async function serve(config: GatewayConfig, deps: ServeDeps): Promise<Listener> {
  const {
    accounts,
    addresses,
    certificates,
    conversations,
    database,
    engines,
    exchange,
    facts,
    follow,
    friends,
    identity,
    limits,
    log,
    models,
    progress,
    records,
    rooms,
    sharing,
    web,
  } = deps
  const { file } = config
  let port = config.port
  const enrolment = { ca: certificates.authority, roots: () => trustedRoots(deps.certs) }
  // Once the port is known it stays.
  let known: OwnNames | undefined
  const names = () => (known ??= ownNames([...addresses, overlayName, ...loopbackNames], port, file.origins))
  const speech = createSpeech(file.speech, models)
  const images = file.images && createImages(file.images)
  const activity = await loadVoiceActivity()
  deps.onClose(() => activity.close())
  const services = file.services.map(({ timeout, ...service }) =>
    openService({ ...service, timeoutMs: timeout }),
  )
  for (const one of [speech, images, ...services]) if (one) deps.onClose(() => one.close())
  const { admission, recorder } = records
  const route = { identity, names, recorder, log }
  const realtime = createRealtime({
    identity,
    admission,
    recorder,
    engines,
    speech,
    activity,
    conversations,
    names,
    log,
  })
  deps.onClose(() => realtime.close())
  const hub = createHub({
    identity,
    names,
    recorder,
    engines,
    // What it lends is lent, whatever the database does.
    note: (lender) =>
      noteLender(database, lender).catch((error: unknown) =>
        log.error({ err: error }, 'a lender could not be written down'),
      ),
    log,
  })
  deps.onClose(() => hub.close())
  const neighbours =
    deps.valkey &&
    config.valkey &&
    (await startNeighbours({
      valkey: deps.valkey,
      listen: config.valkey.listen,
      certificate: certificates.leaf,
      certs: deps.certs,
      secret: deps.neighbourSecret,
      hub,
      engines,
      log,
    }))
  if (neighbours) deps.onClose(() => neighbours.close())
  const { relay, federation } = friends
  const relaySockets = createRelaySockets({ identity, names, relay })
  deps.onClose(() => relaySockets.close())
  const { tunnel } = file
  const app: AppDeps = {
    ...route,
    api: { engines, admission, recorder, limits, speech, images },
    services,
    overlay: { database, exchange, follow },
    admin: {
      facts,
      certs: deps.certs,
      aliases: file.aliases,
      reports: records.reports,
      spent: records.spent,
      relayAddresses: () => relayAddressesOf(file, deps.network, port),
    },
    accounts: {
      accounts: accounts.config,
      guards: accounts.guards,
      forget: records.forget,
      outside: accounts.outside,
      lendTo: tunnel && originOf(tunnel),
      ca: () => (tunnel ? readFile(tunnelAuthority(deps.certs), 'utf8') : authorityOf(deps.certs)),
    },
    conversations,
    rooms,
    hub: { find: (person, name) => hub.find(person, name) ?? neighbours?.find(person, name) },
    relay,
    federation,
    sharing: sharing.friends,
    metrics: records.metrics,
    ready: records.healthy,
    valkey: () => deps.valkey?.ready(),
    neighbours: () => neighbours?.count,
    enrol: enrolment,
    web,
  }
  if (tunnel) {
    const outside = await progress.step(
      'Tunnels',
      () =>
        openOutside(
          deps.certs,
          tunnel,
          {
            tunnel: hub.upgradeOutside,
            ...(tunnel.accounts && { pages: pagesOutside(app, tunnel) }),
            ...(file.relay.outside && {
              relay: {
                path: relayPath,
                upgrade: relaySockets.upgradeOutside,
                friends: { path: friendPath, upgrade: sharing.friends.upgrade },
                answer: createRelayHttp({
                  database,
                  self: federation.self,
                  follow,
                  relay,
                  identity,
                  recorder,
                  log,
                }),
              },
            }),
          },
          (error) => log.error({ err: error }, 'the tunnels’ leaf could not be renewed'),
        ),
      ({ port: at }) =>
        [
          `${tunnel.names.join(', ')}, port ${at}, from anywhere`,
          ...(tunnel.accounts ? ['with accounts'] : []),
          ...(file.relay.outside ? ['with the relay'] : []),
        ].join(', '),
    )
    deps.onClose(() => outside.close())
  }
  const listener = await progress.step(
    'Gateway',
    () =>
      listen({
        addresses,
        port: config.port,
        certificate: certificates.leaf,
        app: createApp(app),
        plain: createPlainApp({ ...route, enrol: enrolment }),
        upgrade: tellApart(realtime, hub, relaySockets, sharing),
        admits: (address) => identity.directory.identify(address) !== undefined,
      }),
    (made) => origin(addresses[0] ?? '', made.port),
  )
  port = listener.port
  return {
    ...listener,
    renew(leaf) {
      listener.renew(leaf)
      neighbours?.renew(leaf)
    },
  }
}

/** What people may ask for who are not on the overlay. */
function pagesOutside(app: AppDeps, { names, listen: { port } }: TunnelConfig): Pages {
  const own = outsideNames(names, port)
  return {
    cost: costOutside,
    serve: getRequestListener(createOutsideApp({ ...app, names: () => own }).fetch),
  }
}

async function authorityOf(certs: string): Promise<string> {
  return (await trustedRoots(certs)).join('')
}

/** Lenders' tunnels, meshes, friends' tunnels, and all other sockets. */
function tellApart(
  realtime: Realtime,
  hub: Hub,
  relay: RelaySockets,
  { friends }: Sharing,
): Realtime['upgrade'] {
  return (request, socket, head) => {
    const [path] = (request.url ?? '').split('?', 1)
    if (path === tunnelPath) hub.upgrade(request, socket, head)
    else if (path === relayPath) relay.upgrade(request, socket, head)
    else if (path === friendPath) friends.upgrade(request, socket, head)
    else realtime.upgrade(request, socket, head)
  }
}

interface TakeUpDeps {
  readonly database: Database
  readonly hub: OpenNetwork
  readonly identity: { readonly directory: Directory; readonly keyring: Keyring }
  readonly records: Records
  readonly exchange: Exchange
  readonly overlay: Keeper | Problem
  readonly friends: RunningFederation
  readonly sharing: Sharing
  readonly listener: Listener
  readonly log: Logger
}

/**
 * Takes up the registry: who may speak no more loses identity first, then connections, then the place on the
 * interface. Resolves to when that is due again by itself.
 */
function takeUp(deps: TakeUpDeps): () => Promise<number> {
  const { database, exchange, friends, hub, identity, listener, log, overlay, records, sharing } = deps
  const { directory, keyring } = identity
  return async () => {
    const revision = await readRevision(database)
    const access = await readAccess(database)
    keyring.update(access)
    await friends.update()
    await sharing.update(access)
    if (overlay instanceof Problem) {
      directory.update({ devices: [], links: [] }, access)
      records.endWhere((caller) => !keyring.isCurrent(caller))
      await setFollowed(database, revision)
      return access.until
    }
    const network = await requireNetwork(database)
    const plan = makePlan(network, hub.privateKey, await readRegistry(database))
    for (const address of directory.update(plan, access)) listener.end(address)
    records.endWhere((caller) => !keyring.isCurrent(caller))
    exchange.update(network, plan)
    await overlay.update(plan)
    await setFollowed(database, revision)
    log.info({ devices: plan.devices.length, links: plan.links.length }, 'took up the registry')
    return Math.min(plan.until, access.until)
  }
}

/** The admin's first device, added where the network never had one and devices know where to dial. */
async function firstEnrolment(
  database: Database,
  network: Network,
  admin: string,
  wanted: boolean,
): Promise<Enrolment | undefined> {
  const { count } = await database
    .selectFrom('devices')
    .select((column) => column.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  if (count > 0 || network.endpoint === null) return undefined
  const person = await ensurePerson(database, admin)
  return wanted ? enrol(database, network, { name: 'phone', person }) : undefined
}

/** Whether this machine has the address now: there are kernels and containers without IPv6. */
function isOurs(address: string): boolean {
  return Object.values(networkInterfaces()).some((own) => own?.some((one) => normal(one.address) === address))
}

function origin(address: string, port: number): string {
  return `https://${address.includes(':') ? `[${address}]` : address}${port === 443 ? '' : `:${port}`}`
}
