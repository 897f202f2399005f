import { existsSync } from 'node:fs'
import { execa } from 'execa'
import { readPeers } from '#wireguard/interface.ts'
import { isOnline } from '#wireguard/peers.ts'
import { isServed } from '../state.ts'
import { failed, ok, warning, type Check } from './check.ts'

export const overlayInterface: Check = {
  code: 'interface',
  name: 'Interface',
  async run({ network, state }) {
    const { interface: name, listenPort, publicKey } = network
    if (!existsSync(`/sys/class/net/${name}`))
      return isServed(state)
        ? failed(
            `${name} is down while the gateway runs`,
            'See its log; a gateway on loopback alone says why when it starts: npm start',
          )
        : warning(`${name} is down: the gateway does not run`, 'sudo npm start')
    const { failed: unreadable, stdout } = await execa('wg', ['show', name, 'public-key'], { reject: false })
    if (unreadable) return failed(`${name} can't be read`, 'Run it as root: sudo ./sotto doctor')
    if (stdout.trim() !== publicKey)
      return failed(
        `${name} has another key: it is not this network’s`,
        `sudo ip link delete ${name}, then start the gateway again`,
      )
    const { stdout: port } = await execa('wg', ['show', name, 'listen-port'], { reject: false })
    if (Number(port) !== listenPort)
      return failed(
        `${name} listens on UDP ${port}, not on ${listenPort}`,
        `sudo wg set ${name} listen-port ${listenPort}`,
      )
    const peers = (await readPeers(name)) ?? []
    return ok(
      `${name} is up on UDP ${listenPort}, ${peers.filter((peer) => isOnline(peer)).length} of ${peers.length} peers online`,
    )
  },
}
