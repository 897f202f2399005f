/** Stands in for a server of static files elsewhere: `site.ts DIRECTORY --port N`. One page draws all paths. */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { announcePort } from './announce.ts'

const types: Record<string, string> = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://site')
  const file = extname(pathname) === '' ? '/index.html' : normalize(pathname)
  readFile(join(directory, file)).then(
    (content) =>
      response.setHeader('Content-Type', types[extname(file)] ?? 'application/octet-stream').end(content),
    () => response.writeHead(404).end(),
  )
})
const [directory = '.'] = announcePort(server)
