/** Where our relay is reached. */
import { isIPv6 } from 'node:net'
import { hubAddresses } from '@sotto/provisioning/overlay/addresses.ts'
import type { Network } from '@sotto/provisioning/registry/network.ts'
import type { GatewayConfig } from '../config.ts'

/** The address that is open to all first; the overlay's is good for its own devices. */
export function relayAddressesOf(
  { tunnel, relay }: Pick<GatewayConfig['file'], 'tunnel' | 'relay'>,
  network: Network,
  port: number,
): string[] {
  const outside = tunnel && relay.outside ? tunnel.names.map((name) => address(name, tunnel.listen.port)) : []
  return [...outside, address(hubAddresses(network).address4, port)]
}

function address(host: string, port: number): string {
  return `wss://${isIPv6(host) ? `[${host}]` : host}${port === 443 ? '' : `:${port}`}`
}
