/** A relay of the protocol's first kind, which knows nothing of us: for what a gateway of ours does there. */
import type { AddressInfo } from 'node:net'
import { WebSocketServer, type WebSocket } from 'ws'
import { cleanPayload, maxFrameLength, readSent } from './frames.ts'

export interface PlainRelay {
  readonly url: string
  /** Frames that were relayed. */
  readonly relayed: number
  readonly longest: number
  close(): Promise<void>
}

export async function startPlainRelay(): Promise<PlainRelay> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/gateway' })
  const meshes = new Map<string, WebSocket>()
  const seen = { relayed: 0, longest: 0 }
  server.on('connection', (socket) => {
    let own = ''
    const say = (to: WebSocket, frame: object) => to.send(JSON.stringify(frame))
    socket.on('message', (data) => {
      const text = data instanceof Buffer ? data.toString() : ''
      seen.longest = Math.max(seen.longest, text.length)
      if (text.length > maxFrameLength) return say(socket, { type: 'error', message: 'Payload too large' })
      const frame = readSent(text)
      if (frame?.type === 'gateway_auth') {
        own = frame.meshId
        meshes.set(own, socket)
        return say(socket, { type: 'gateway_auth_ok', meshId: own, name: own })
      }
      if (frame?.type === 'gateway_discover')
        return say(socket, {
          type: 'gateway_discover_result',
          instances: [...meshes.keys()].map((meshId) => ({ meshId, name: meshId, publicRooms: [] })),
        })
      if (frame?.type !== 'gateway_relay') return
      seen.relayed += 1
      const target = meshes.get(frame.targetMeshId)
      const payload = cleanPayload(frame.payload)
      if (target) say(target, { type: 'gateway_incoming', fromMeshId: own, fromMeshName: own, payload })
    })
    socket.on('close', () => {
      if (meshes.get(own) === socket) meshes.delete(own)
    })
  })
  await new Promise((settle) => server.once('listening', settle))
  const { port } = server.address() as AddressInfo
  return {
    url: `ws://127.0.0.1:${port}/gateway`,
    get relayed() {
      return seen.relayed
    },
    get longest() {
      return seen.longest
    },
    async close() {
      for (const socket of server.clients) socket.terminate()
      await new Promise((settle) => server.close(settle))
    },
  }
}
