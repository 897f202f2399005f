import { lookup } from 'node:dns/promises'
import ipaddr from 'ipaddr.js'
import { hubFirewall } from '#enrolment/steps.ts'
import { failed, ok, warning, type Check } from './check.ts'

export const endpoint: Check = {
  code: 'endpoint',
  name: 'Endpoint',
  async run({ network }) {
    if (network.endpoint === null)
      return failed(
        'Nobody knows under which address devices reach this machine',
        './sotto network endpoint HOST',
      )
    const host = network.endpoint.slice(0, network.endpoint.lastIndexOf(':')).replaceAll(/[[\]]/g, '')
    const address = await lookup(host).catch(() => undefined)
    if (!address)
      return failed(
        `${host} is a name that does not resolve`,
        'Check its DNS entry, or set another: ./sotto network endpoint HOST',
      )
    const kind = ipaddr.parse(address.address).range()
    if (kind === 'loopback')
      return failed(`${network.endpoint} is this machine alone`, './sotto network endpoint HOST')
    if (['private', 'carrierGradeNat', 'uniqueLocal', 'linkLocal'].includes(kind))
      return warning(
        `${network.endpoint} is reached from the same network alone`,
        `For devices elsewhere forward UDP ${network.listenPort} on your router to this machine, then: ./sotto network endpoint NAME-OR-ADDRESS-OF-THE-ROUTER`,
      )
    return ok(`${network.endpoint}; let UDP ${network.listenPort} in: ${hubFirewall(network.listenPort).ufw}`)
  },
}
