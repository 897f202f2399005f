/** How the test's own process asks a gateway that is in a host of the lab: by a Unix socket that leads there. */
import type { IncomingMessage } from 'node:http'
import { Agent, request, type RequestOptions } from 'node:https'
import { connect, type ConnectionOptions } from 'node:tls'
import { text } from 'node:stream/consumers'
import { join, resolve } from 'node:path'
import { WebSocket } from 'ws'
import type { Host } from '../lab/lab.ts'

/** The gateway's own name: its certificate is good for it. */
const name = 'sotto.internal'

export interface Answer {
  readonly status: number
  /** `x-request-id` */
  readonly id: string
  /** Those that it sets, as they are sent back. */
  readonly cookie: string
  readonly text: string
  json(): ReturnType<typeof JSON.parse>
}

export interface Door {
  /** Rejects where the connection ends before the answer does. */
  ask(
    method: string,
    path: string,
    body?: object,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer>
  open(path: string, protocol: string, headers?: Readonly<Record<string, string>>): WebSocket
  /** Forgets connections to a gateway that is no more. */
  forget(): void
  stop(): Promise<void>
}

export interface DoorTo {
  readonly address: string
  readonly port: number
  readonly ca: string
}

/** @param directory where its socket is made */
export async function openDoor(host: Host, directory: string, { address, port, ca }: DoorTo): Promise<Door> {
  const socketPath = join(directory, 'door')
  const script = resolve(import.meta.dirname, '..', 'stand-ins', 'door.ts')
  const child = host.start(process.execPath, [script, socketPath, String(port), address], {
    stdin: 'ignore',
    buffer: false,
  })
  await new Promise((settle) => child.stdout?.once('data', settle))
  let agent = new Agent({ keepAlive: true })
  const trust = { ca, servername: name } satisfies ConnectionOptions
  return {
    async ask(method, path, body, headers = {}) {
      const options: RequestOptions = {
        ...trust,
        agent,
        socketPath,
        method,
        path,
        headers: {
          host: `${name}:${port}`,
          origin: `https://${name}:${port}`,
          ...(body && { 'content-type': 'application/json' }),
          ...headers,
        },
      }
      const response = await new Promise<IncomingMessage>((settle, fail) => {
        request(options, settle)
          .once('error', fail)
          .end(body && JSON.stringify(body))
      })
      const said = await text(response)
      return {
        status: response.statusCode ?? 0,
        id: String(response.headers['x-request-id'] ?? ''),
        cookie: (response.headers['set-cookie'] ?? []).map((one) => one.split(';')[0]).join('; '),
        text: said,
        json: () => JSON.parse(said),
      }
    },
    open: (path, protocol, headers = {}) =>
      new WebSocket(`wss://${name}:${port}${path}`, protocol, {
        headers,
        createConnection: () => connect({ ...trust, path: socketPath }),
      }),
    forget() {
      agent.destroy()
      agent = new Agent({ keepAlive: true })
    },
    async stop() {
      agent.destroy()
      child.kill('SIGKILL')
      await child
    },
  }
}
