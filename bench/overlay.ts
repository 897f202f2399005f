/** The overlay: how soon a device is in, what a thousand of them cost, and what the tunnels carry. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { openDatabase } from '@sotto/provisioning/database.ts'
import { enrol } from '@sotto/provisioning/enrolment/enrol.ts'
import { ensureNetwork } from '@sotto/provisioning/network.ts'
import { firstPerson } from '@sotto/provisioning/registry/person.ts'
import { makeState } from '@sotto/provisioning/state.ts'
import { execa } from 'execa'
import { z } from 'zod'
import { joinNetwork, joinOverlay, sotto, startGateway, temporaryDirectory } from '#test/lab/gateway.ts'
import { createLab, type Host, type Lab } from '#test/lab/lab.ts'
import setUpPackages from '#test/setup/packages.ts'
import { median, met, time, type Bench } from './report.ts'

const command = join(import.meta.dirname, '..', 'sotto')

export const overlay: Bench = async (report) => {
  await setUpPackages()
  const folder = await temporaryDirectory()
  const lab = await createLab()
  try {
    await manyDevices(folder.path, report)
    await firstHandshake(lab, folder.path, report)
    await throughput(lab, folder.path, report)
  } finally {
    await lab.close()
    await folder.remove()
  }
}

async function manyDevices(directory: string, report: Parameters<Bench>[0]): Promise<void> {
  const state = await makeState(`${directory}/many`)
  const database = await openDatabase(state.database)
  const { network } = await ensureNetwork(state, database, { endpoint: '192.0.2.1', range: '10.99.0.0/16' })
  const person = await firstPerson(database)
  const add = (number: number) => enrol(database, network, { name: `device ${number}`, person })
  // The first ones pay for what is compiled as it is used.
  for (let number = 0; number < 10; number += 1) await add(number)
  const each: number[] = []
  for (let number = 10; number < 1_000; number += 1) each.push(await time(() => add(number)))
  const [few, many] = [median(each.slice(0, 21)), median(each.slice(-21))]
  report({
    what: 'adding the 1,000th device',
    figure: `${many.toFixed(1)} ms`,
    beside: `the 10th: ${few.toFixed(1)} ms`,
    target: `at most 2×: ${(many / few).toFixed(2)}× ${met(many / few <= 2)}`,
  })
  const add1000 = async (name: string) =>
    execa(command, ['device', 'add', name, '--out', `${directory}/${name}.conf`, '--state', state.directory])
  report({
    what: '`device add` at 1,000, the whole command',
    figure: `${(await time(() => add1000('last'))).toFixed(0)} ms`,
  })
  await database.destroy()

  const list = () => execa(command, ['device', 'list', '--state', state.directory])
  const nothing = () => execa(process.execPath, ['-e', '0'])
  await list()
  const [listed, bare]: [number[], number[]] = [[], []]
  for (let run = 0; run < 15; run += 1) {
    listed.push(await time(list))
    bare.push(await time(nothing))
  }
  const bar = 1.5 * median(bare) + 100
  report({
    what: '`device list` with 1,000 devices',
    figure: `${median(listed).toFixed(0)} ms`,
    beside: `\`node -e 0\`: ${median(bare).toFixed(0)} ms`,
    target: `under 1.5 × that + 100 = ${bar.toFixed(0)} ms: ${met(median(listed) < bar)}`,
    chart: { unit: 'ms', bars: { 'device list': median(listed), 'node -e 0': median(bare) }, limit: bar },
  })
}

async function firstHandshake(lab: Lab, directory: string, report: Parameters<Bench>[0]): Promise<void> {
  const gateway = await startGateway(lab.hub, `${directory}/state`, '--endpoint', lab.hub.address4)
  const totals: number[] = []
  for (let run = 0; run < 5; run += 1) {
    const name = `bench${run}`
    totals.push(
      await time(async () => {
        const { stdout } = await sotto('device', 'add', name, '--state', gateway.state, '--json')
        const { config } = z.object({ config: z.string() }).parse(JSON.parse(stdout))
        const device = await joinOverlay(lab.neighbour, directory, config, name.slice(-2))
        while (
          !/\t[1-9]\d*$/.test((await lab.neighbour.run('wg', 'show', device, 'latest-handshakes')).stdout)
        )
          await pause(5)
        await lab.neighbour.run('ip', 'link', 'delete', device)
      }),
    )
  }
  report({
    what: 'from `device add` to the first handshake, `wg-quick up` included',
    figure: `${median(totals).toFixed(0)} ms`,
  })
  await gateway.stop()
}

async function throughput(lab: Lab, directory: string, report: Parameters<Bench>[0]): Promise<void> {
  const gateway = await startGateway(lab.hub, `${directory}/state`, '--endpoint', lab.hub.address4)
  const run = async (...args: string[]) => {
    const { stdout } = await sotto(...args, '--state', gateway.state, '--json')
    return stdout
  }
  await run('network', 'allow', 'all', 'host')
  const { config } = z.object({ config: z.string() }).parse(JSON.parse(await run('device', 'add', 'laptop')))
  await joinOverlay(lab.device, directory, config, 'tp')
  await lab.device.run('ping', '-c', '1', '-W', '5', '10.77.0.1')
  const raw = await iperf(lab.device, lab.hub, lab.hub.address4)
  const tunnel = await iperf(lab.device, lab.hub, '10.77.0.1')
  const hosts = [await lab.addBehindNat('ada'), await lab.addBehindNat('bob')]
  const joined = []
  for (const [at, host] of hosts.entries()) {
    const { link } = z
      .object({ link: z.string() })
      .parse(JSON.parse(await run('device', 'add', `nat${at}`, '--link')))
    joined.push(await joinNetwork(host, `${directory}/nat${at}`, link))
  }
  const [ada, bob] = hosts
  const [fromAda, toBob] = joined
  if (!ada || !bob || !fromAda || !toBob) throw new Error('unreachable: two hosts joined')
  const direct = async () =>
    z.object({ paths: z.array(z.object({ state: z.string() })) }).parse(JSON.parse(await run('status'))).paths
  while ((await direct()).filter(({ state }) => state === 'direct').length < 2) await pause(200)
  const between = await iperf(ada, bob, toBob.address4)
  const routers = await iperf(ada.router, bob.router, bob.router.address4)
  report({ what: 'raw veth, one host to another', figure: gigabits(raw) })
  report({
    what: 'device → gateway',
    figure: gigabits(tunnel),
    beside: `${percent(tunnel / raw)} of raw veth`,
    chart: {
      unit: 'bit/s',
      bars: { 'device → gateway': tunnel, 'device ↔ device': between, 'raw veth': raw },
    },
  })
  report({
    what: 'device ↔ device, direct through two NATs',
    figure: gigabits(between),
    beside: `${percent(between / routers)} of raw veth between the routers (${gigabits(routers)})`,
  })
  for (const one of joined) await one.stop()
  await gateway.stop()
}

/** Bits per second of one TCP stream for five seconds. */
async function iperf(from: Host, to: Host, address: string): Promise<number> {
  const server = to.start('iperf3', ['-s', '-1', '-B', address], { stdio: 'ignore' })
  await pause(500)
  const { stdout } = await from.run('iperf3', '-c', address, '-t', '5', '-J')
  server.kill()
  await server
  return z
    .object({ end: z.object({ sum_received: z.object({ bits_per_second: z.number() }) }) })
    .parse(JSON.parse(stdout)).end.sum_received.bits_per_second
}

const gigabits = (bits: number): string => `${(bits / 1e9).toFixed(2)} Gbit/s`
const percent = (ratio: number): string => `${(ratio * 100).toFixed(1)} %`
