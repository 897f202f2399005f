/** What Prometheus reads of the devices, in its text format. */
import type { DeviceView } from '@sotto/provisioning/registry/view.ts'
import { Counter, Gauge, Registry } from 'prom-client'

export async function renderMetrics(devices: readonly DeviceView[]): Promise<string> {
  const registry = new Registry()
  const device = { registers: [registry], labelNames: ['device', 'person'] as const }
  const online = new Gauge({ ...device, name: 'sotto_peer_online', help: '1 while its session is alive' })
  const handshake = new Gauge({
    ...device,
    name: 'sotto_peer_latest_handshake_timestamp_seconds',
    help: 'Unix time of the latest handshake; absent before the first',
  })
  const received = new Counter({
    ...device,
    name: 'sotto_peer_received_bytes_total',
    help: 'Bytes received from it since it was added',
  })
  const sent = new Counter({
    ...device,
    name: 'sotto_peer_sent_bytes_total',
    help: 'Bytes sent to it since it was added',
  })
  const path = new Gauge({
    registers: [registry],
    labelNames: ['device', 'peer', 'state'] as const,
    name: 'sotto_path',
    help: '1 for how a joined device reaches another: direct, probing or relayed by the hub',
  })
  for (const { name, person, state, latestHandshake, receivedBytes, sentBytes, paths } of devices) {
    const labels = { device: name, person }
    online.set(labels, state === 'online' ? 1 : 0)
    if (latestHandshake !== null) handshake.set(labels, Date.parse(latestHandshake) / 1000)
    received.inc(labels, receivedBytes)
    sent.inc(labels, sentBytes)
    for (const { peer, state: how } of paths) path.set({ device: name, peer, state: how }, 1)
  }
  return registry.metrics()
}
