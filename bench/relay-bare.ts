/** A bare `ws` server with TLS: who connects gets what each other sends. `relay-bare.ts CERT KEY`; says its port. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { WebSocketServer } from 'ws'

const [, , cert = '', key = ''] = process.argv
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) })
const sockets = new WebSocketServer({ server, perMessageDeflate: false })
sockets.on('connection', (socket) => {
  socket.on('message', (data) => {
    if (!(data instanceof Buffer)) return
    const text = data.toString()
    for (const other of sockets.clients) if (other !== socket) other.send(text)
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address) process.stdout.write(`${address.port}\n`)
})
