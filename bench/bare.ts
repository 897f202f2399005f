/** Node's own https server with nothing behind it, that streams slowly: what a connection costs before any gateway. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'

const [, , certs = ''] = process.argv
const server = createServer(
  { cert: readFileSync(`${certs}/leaf.crt`), key: readFileSync(`${certs}/leaf.key`) },
  (request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const timer = setInterval(() => response.write('data: {"word":" word"}\n\n'), 100)
    response.write('data: {"word":" word"}\n\n')
    response.once('close', () => clearInterval(timer))
  },
)
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`)
})
