/**
 * A door into a network namespace, for the test's own process: `door.ts SOCKET PORT ADDRESS` takes what comes to a
 * Unix socket, which is the same in all of them, to an address there.
 */
import { createConnection, createServer } from 'node:net'

const [, , path, port, address] = process.argv

const server = createServer((near) => {
  const far = createConnection({ host: address ?? '', port: Number(port) })
  near.pipe(far).pipe(near)
  near.on('error', () => far.destroy()).once('close', () => far.destroy())
  far.on('error', () => near.destroy()).once('close', () => near.destroy())
})
server.listen(path, () => process.stdout.write('{"port":0}\n'))
