import { Agent, Dispatcher } from 'undici'

export interface Way {
  /** `https://HOST:PORT` */
  readonly origin: string
  /** In front of each path. */
  readonly base: string
  readonly headers: Readonly<Record<string, string>>
  readonly connect: NonNullable<Agent.Options['connect']>
}

/** A neighbour's door as an upstream: what a tunnel is where the lender is connected. */
export class ThroughDoor extends Dispatcher {
  readonly #way: Way
  readonly #agent: Agent

  constructor(way: Way) {
    super()
    this.#way = way
    // A model may think for longer than any time that could be set here; a lender that is gone is told at once.
    this.#agent = new Agent({ connect: way.connect, headersTimeout: 0, bodyTimeout: 0 })
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const { origin, base, headers } = this.#way
    const all = { ...plain(options.headers), ...headers }
    return this.#agent.dispatch({ ...options, origin, path: base + options.path, headers: all }, handler)
  }

  override close(): Promise<void> {
    return this.#agent.close()
  }

  override destroy(): Promise<void> {
    return this.#agent.destroy()
  }
}

/** The gateway gives its upstreams headers as an object. */
function plain(headers: Dispatcher.DispatchOptions['headers']): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers ?? {})) if (typeof value === 'string') kept[name] = value
  return kept
}
