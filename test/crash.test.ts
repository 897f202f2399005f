/**
 * A gateway that is killed while people and the admin write: started again, it has all that it had acknowledged, and
 * nothing else. `SOTTO_KILLS` says how often, `SOTTO_SEED` by which chance; the same seed chooses the same load, and
 * where in it the kill falls is the machine's.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createChance, type Chance } from './crash/chance.ts'
import { openDoor, type Door } from './crash/door.ts'
import { find, type Found } from './crash/found.ts'
import { makeLeaver } from './crash/leaver.ts'
import { startLoad, type Load, type Session } from './crash/load.ts'
import { createSpent } from './crash/spent.ts'
import { createWitness, type Crash } from './crash/witness.ts'
import { sotto, startGateway, startStandIn, temporaryDirectory, type RunningGateway } from './lab/gateway.ts'
import { createLab, type Lab } from './lab/lab.ts'

const kills = Number(process.env.SOTTO_KILLS ?? 200)
const seed = Number(process.env.SOTTO_SEED ?? Date.now() % 2 ** 32)
const databases = ['sotto.db', 'ledger.db', 'conversations.db', 'rooms.db', 'federation.db']
const program = resolve(import.meta.dirname, '..', 'sotto.ts')

describe('a gateway that is killed', { timeout: 60_000 + kills * 30_000 }, () => {
  let lab: Lab
  let door: Door
  let gateway: RunningGateway
  let found: Found
  let state: string
  let options: string[]
  let live: string
  let passphrase: string[]
  const session: Session = { cookie: '', secret: '', room: '' }
  const witness = createWitness()
  const spent = createSpent()
  const rooms = new Set<string>()
  const closers: (() => unknown)[] = []
  let names = 0
  const fresh = (stem: string): string => {
    names += 1
    return `${stem}-${names}`
  }

  beforeAll(async () => {
    lab = await createLab()
    closers.push(lab.close)
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    const ollama = await startStandIn(lab.hub, 'ollama')
    closers.push(ollama.stop)
    state = join(folder.path, 'state')
    // Addresses of devices that are gone are not given again for 30 days.
    options = [
      '--endpoint',
      lab.hub.address4,
      '--ollama',
      ollama.url,
      '--admin',
      'ada',
      '--range',
      '10.77.0.0/18',
    ]
    options.push('--no-first-device')
    passphrase = ['--passphrase-file', join(folder.path, 'passphrase')]
    await writeFile(join(folder.path, 'passphrase'), 'four or five words\n')
    gateway = await startGateway(lab.hub, state, ...options)
    closers.push(() => gateway.stop())
    const ca = await readFile(join(state, 'certs', 'root.crt'), 'utf8')
    door = await openDoor(lab.hub, folder.path, { address: '10.77.0.1', port: 8443, ca })
    closers.push(door.stop)
    // `wg` would show those of other namespaces, too: wireguard-go's sockets are one folder for all.
    live = /\b(sotto\d+)[:@]/.exec((await lab.hub.run('ip', '-oneline', 'link')).stdout)?.[1] ?? ''
    const run = async (...args: string[]) =>
      JSON.parse((await sotto(...args, '--state', state, '--json')).stdout)
    const { code } = await run('admin', 'code')
    Object.assign(session, { cookie: (await door.ask('POST', '/sotto/admin/confirmation', { code })).cookie })
    Object.assign(session, { secret: (await run('key', 'add', 'load')).secret })
    await run('limit', 'key:load', '--tokens-in-total', '1000000000')
    witness.asks(['key load', 'active']).acknowledged()
    witness.asks(['person ada', 'home']).acknowledged()
    witness.asks(['tenant home', 'enabled']).acknowledged()
    found = find(door, lab.hub, session)
    await makeRoom()
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  const makeRoom = async (): Promise<void> => {
    const headers = { 'x-api-key': session.secret }
    const made = await door.ask('POST', '/sotto/rooms', { name: fresh('room') }, headers)
    session.room = made.json().id
    rooms.add(session.room)
  }
  const load = (chance: Chance): Load => {
    const [directory, requests] = [join(state, '..'), `request:${cycle}`]
    return startLoad({ door, chance, witness, spent, session, directory, fresh, requests })
  }
  const kill = async (): Promise<void> => {
    gateway.process.kill('SIGKILL')
    await gateway.process
    door.forget()
  }
  /** Starts one and kills it before it serves; says so where it ended by itself. */
  const killStarting = async (
    afterMs: number,
    host = lab.hub,
    args: readonly string[] = ['--state', state, ...options],
  ): Promise<string[]> => {
    const child = host.start(process.execPath, [program, 'up', ...args], { stdin: 'ignore' })
    const ended = await Promise.race([child, pause(afterMs)])
    child.kill('SIGKILL')
    await child
    return ended === undefined
      ? []
      : [`a start ended by itself: ${ended.exitCode} ${ended.signal} ${String(ended.stderr)}`]
  }
  /** A command beside the gateway, killed with it or not. */
  const besides = async (wanted: 'device' | 'backup', afterMs: number): Promise<void> => {
    const name = fresh('device')
    const args =
      wanted === 'device' ? ['device', 'add', name] : ['backup', join(state, '..', name), ...passphrase]
    const asked = wanted === 'device' ? witness.asks([`device ${name}`, 'enabled']) : undefined
    const child = execa(process.execPath, [program, ...args, '--state', state, '--json'], { reject: false })
    const killer = afterMs === Infinity ? undefined : setTimeout(() => child.kill('SIGKILL'), afterMs)
    const { exitCode } = await child
    clearTimeout(killer)
    if (exitCode === 0) asked?.acknowledged()
  }
  const leftBehind = async (): Promise<string[]> =>
    (await readdir(state)).flatMap((name) =>
      /^(?:backup|wg)-|\.copy-/.test(name) ? [`${name} was left behind`] : [],
    )
  const unsound = (): string[] =>
    databases.flatMap((name) => {
      const database = new DatabaseSync(join(state, name))
      const rows = database.prepare('PRAGMA integrity_check').all()
      database.close()
      return rows.length === 1 && rows[0]?.integrity_check === 'ok'
        ? []
        : [`${name}: ${JSON.stringify(rows)}`]
    })
  let cycle = 0
  let total = { requests: 0, tokens: 0 }

  const compareAll = async (crash: Crash, ended: Load, since: Date, quiet: boolean): Promise<string[]> => {
    const [{ people, tenants }, { limits, spent: now }, ...rest] = await Promise.all([
      found.people(),
      found.limits(),
      found.devices(),
      found.keys(),
      found.conversations(),
      found.messages(session.room),
    ])
    const [devices, keys, conversations, messages] = rest
    const lost = [
      ...witness.compare('device', devices, crash),
      ...witness.compare('key', keys, crash),
      ...witness.compare('person', people, crash),
      ...witness.compare('tenant', tenants, crash),
      ...witness.compare('limit', limits, crash),
      ...witness.compare('conversation', conversations, crash),
      ...witness.compare(`message:${session.room}`, messages, crash),
      ...spent.compare(now, quiet),
    ]
    for (const id of ended.conversations)
      lost.push(...witness.compare(`said:${id}`, await found.said(id), crash))
    const requests = await found.requests(since)
    const theirs = new Map([...requests.keys()].map((id) => [id, 'recorded']))
    // A request that had no answer may have its row, too.
    for (const id of theirs.keys())
      if (witness.valueOf(`request:${cycle} ${id}`) === undefined) theirs.delete(id)
    lost.push(...witness.compare(`request:${cycle}`, theirs, crash))
    total = {
      requests: total.requests + requests.size,
      tokens: total.tokens + [...requests.values()].reduce((sum, tokens) => sum + tokens, 0),
    }
    const usage = await found.usage()
    if (usage.requests !== total.requests || usage.tokens !== total.tokens)
      lost.push(`the usage says ${JSON.stringify(usage)}, the audit ${JSON.stringify(total)}`)
    lost.push(...(await found.unlike(live)))
    return lost
  }

  /** What was there after an earlier crash is there after the last. */
  const compareOld = async (): Promise<string[]> => {
    const crash = { at: Infinity, late: 0 }
    const lost: string[] = []
    for (const room of rooms)
      lost.push(...witness.compare(`message:${room}`, await found.messages(room), crash))
    for (const id of witness.settled('conversation'))
      lost.push(...witness.compare(`said:${id}`, await found.said(id), crash))
    return lost
  }

  it(`has all that it acknowledged, ${kills} times`, async () => {
    const begun = performance.now()
    const lost: string[] = []
    let starts = 0
    for (cycle = 1; cycle <= kills; cycle += 1) {
      const at = (what: readonly string[]) =>
        lost.push(
          ...what.map((one) => `kill ${cycle}: ${one}. Again: SOTTO_SEED=${seed} SOTTO_KILLS=${cycle}`),
        )
      const chance = createChance(seed + cycle)
      if (chance.happens(0.15)) {
        starts += 1
        await kill()
        at(await killStarting(chance.whole(1_500)))
        gateway = await startGateway(lab.hub, state, ...options)
        at(await leftBehind())
        continue
      }
      if (chance.happens(0.1)) await makeRoom()
      const since = new Date()
      const quiet = chance.happens(0.1)
      const lastsMs = chance.whole(600)
      const powerCut = chance.happens(0.1)
      const atWork = chance.happens(0.7)
      const command = chance.happens(0.15)
        ? besides(
            chance.happens(0.7) ? 'device' : 'backup',
            chance.happens(0.5) ? Infinity : chance.whole(1_500),
          )
        : undefined
      const running = load(chance)
      // A gateway that has just begun answers late: at times the kill comes before its first answer, at times after.
      if (atWork) await Promise.race([running.begun, pause(5_000)])
      await pause(lastsMs)
      if (quiet) {
        await running.quiet()
        await pause(400)
      }
      const killedAt = performance.now()
      const seen = running.killed()
      await kill()
      await seen
      if (powerCut) {
        // What lives in memory goes with the power: the interface, too.
        await lab.hub.run('ip', 'link', 'delete', 'dev', live)
        await lab.hub.run('rm', '-f', `/var/run/wireguard/${live}.sock`)
      }
      at(running.wrong)
      at(unsound())
      // It may be at it while the gateway starts.
      ;[gateway] = await Promise.all([startGateway(lab.hub, state, ...options), command])
      at(await compareAll({ at: killedAt, late: running.late() }, running, since, quiet))
      // A backup that was killed later than the gateway is swept out at the next start.
      if (!command) at(await leftBehind())
      if (lost.length > 20) break
    }
    lost.push(...(await compareOld()))
    const seconds = Math.round((performance.now() - begun) / 1000)
    const writes = [...witness.counts].map(([kind, count]) => `${count} ${kind}`)
    const sum = [...witness.counts.values()].reduce((all, count) => all + count, 0)
    process.stdout.write(
      `killed ${cycle - 1} times (${starts} while starting) in ${seconds} s, seed ${seed}: ${sum} writes acknowledged (${writes.join(', ')}), ` +
        `${witness.early} of them too young to be on disk, lost: ${lost.length}; ` +
        `${spent.answered} tokens answered, ${spent.charged} charged by crashes\n`,
    )
    expect(lost).toEqual([])
  })

  it('is made whole where its very first start was killed', async () => {
    const chance = createChance(seed)
    for (let round = 0; round < Math.ceil(kills / 40); round += 1) {
      const args = ['--endpoint', lab.neighbour.address4, '--ollama', 'http://127.0.0.1:9']
      const made = join(state, '..', `made-${round}`)
      const afterMs = 200 + chance.whole(1_800)
      expect(await killStarting(afterMs, lab.neighbour, ['--state', made, ...args]), `${afterMs} ms`).toEqual(
        [],
      )
      const whole = await startGateway(lab.neighbour, made, ...args)
      expect(whole.overlay, `${afterMs} ms`).toHaveProperty('implementation')
      await whole.stop()
    }
  })

  it('ends what was begun of an account’s deletion', async () => {
    const outcomes = { 'not begun': 0, 'in the middle': 0, done: 0 }
    const wrong: string[] = []
    const chance = createChance(seed)
    for (let round = 0; round < Math.max(4, kills / 20); round += 1) {
      const { cookie } = session
      const leaver = await makeLeaver(door, { cookie, state, name: fresh('leaver') })
      const leaving = leaver.leave().catch(() => false)
      await pause(chance.whole(40))
      await kill()
      const acknowledged = await leaving
      const { stays, traces } = leaver.left(state)
      outcomes[stays ? 'not begun' : traces.length > 0 ? 'in the middle' : 'done'] += 1
      if (acknowledged && (stays || traces.length > 0))
        wrong.push(`acknowledged, and there is ${traces.join()}`)
      gateway = await startGateway(lab.hub, state, ...options)
      const { traces: after } = leaver.left(state)
      if (after.length !== (stays ? 3 : 0))
        wrong.push(`after the crash there is ${after.join() || 'nothing'}`)
    }
    process.stdout.write(`accounts deleted at a crash: ${JSON.stringify(outcomes)}\n`)
    expect(wrong).toEqual([])
  })
})
