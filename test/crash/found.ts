/** What a gateway has, asked by its own doors: what `witness.ts` compares with what was acknowledged. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Host } from '../lab/lab.ts'
import type { Door } from './door.ts'
import type { Session } from './load.ts'

export interface Found {
  devices(): Promise<Map<string, string>>
  /** How the peers of the interface differ from the registry's devices, if they still do after a while. */
  unlike(interfaceName: string): Promise<string[]>
  keys(): Promise<Map<string, string>>
  people(): Promise<{ readonly people: Map<string, string>; readonly tenants: Map<string, string> }>
  limits(): Promise<{ readonly limits: Map<string, string>; readonly spent: number }>
  conversations(): Promise<Map<string, string>>
  said(conversation: string): Promise<Map<string, string>>
  messages(room: string): Promise<Map<string, string>>
  /** Requests and tokens of the key `load`, as the usage has them. */
  usage(): Promise<{ readonly requests: number; readonly tokens: number }>
  /** Ids of the requests of the key `load` since then, with the tokens that they took. */
  requests(since: Date): Promise<Map<string, number>>
}

export function find(door: Door, host: Host, { cookie, secret }: Session): Found {
  const read = async (path: string, headers: Readonly<Record<string, string>> = { cookie }) => {
    const answer = await door.ask('GET', path, undefined, headers)
    if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${answer.text}`)
    return answer.json()
  }
  const devices = async (): Promise<{ name: string; state: string; address4: string }[]> =>
    (await read('/sotto/devices')).devices
  return {
    async devices() {
      const all = await devices()
      return new Map(all.map(({ name, state }) => [name, state === 'disabled' ? 'disabled' : 'enabled']))
    },
    async unlike(interfaceName) {
      for (let tries = 0; ; tries += 1) {
        const { stdout } = await host.run('wg', 'show', interfaceName, 'allowed-ips')
        const live = [...stdout.matchAll(/(\d+\.\d+\.\d+\.\d+)\/32/g)].map(([, address = '']) => address)
        const wanted = (await devices())
          .filter(({ state }) => state !== 'disabled')
          .map(({ address4 }) => address4)
        if (live.toSorted().join() === wanted.toSorted().join()) return []
        if (tries === 50) return [`the interface has ${live.join()}, the registry ${wanted.join()}`]
        await pause(100)
      }
    },
    async keys() {
      const { keys } = await read('/sotto/admin/keys')
      return new Map(keys.map(({ name, state }: Record<string, string>) => [name, state]))
    },
    async people() {
      const { tenants } = await read('/sotto/admin/people')
      return {
        tenants: new Map(
          tenants.map(({ name, disabled }: { name: string; disabled: boolean }) => [
            name,
            disabled ? 'disabled' : 'enabled',
          ]),
        ),
        people: new Map(
          tenants.flatMap(({ name: tenant, people }: { name: string; people: { name: string }[] }) =>
            people.map(({ name }) => [name, tenant] as const),
          ),
        ),
      }
    },
    async limits() {
      const all: { party: string; limits: { requestsPerMinute: number | null }; spent: { total: number } }[] =
        (await read('/sotto/admin/limits')).limits
      return {
        limits: new Map(
          all.flatMap(({ party, limits }) =>
            limits.requestsPerMinute === null ? [] : [[party, String(limits.requestsPerMinute)] as const],
          ),
        ),
        spent: all.find(({ party }) => party === 'key:load')?.spent.total ?? -1,
      }
    },
    async conversations() {
      const found = new Map<string, string>()
      let next: string | null = ''
      while (next !== null) {
        const page = await read(`/sotto/conversations?limit=100${next && `&before=${next}`}`)
        for (const { id, title } of page.conversations) found.set(id, title)
        ;({ next } = page)
      }
      return found
    },
    async said(conversation) {
      const answer = await door.ask('GET', `/sotto/conversations/${conversation}`, undefined, { cookie })
      // One in which nothing was said, or nothing that was on disk yet.
      if (answer.status === 404) return new Map()
      const { items } = answer.json()
      return new Map(
        items.map(({ id, content }: { id: string; content: { text: string }[] }) => [
          id,
          content[0]?.text ?? '',
        ]),
      )
    },
    async messages(room) {
      const found = new Map<string, string>()
      let before = ''
      for (;;) {
        const page = await read(`/sotto/rooms/${room}/messages?limit=100${before}`, { 'x-api-key': secret })
        for (const { id, text, deleted } of page.messages) if (deleted !== true) found.set(id, text)
        if (page.earlier !== true) return found
        before = `&before=${page.messages[0].sequence}`
      }
    },
    async requests(since) {
      const { rows } = await read(
        `/sotto/admin/audit?key=load&service=chat&limit=1000&since=${since.toISOString()}`,
      )
      return new Map(
        rows.map(({ requestId, inputTokens, outputTokens }: Record<string, number>) => [
          String(requestId),
          Number(inputTokens) + Number(outputTokens),
        ]),
      )
    },
    async usage() {
      const rows: {
        key: string
        service: string
        requests: number
        inputTokens: number
        outputTokens: number
      }[] = (await read('/sotto/admin/usage?days=2')).rows
      const ours = rows.filter(({ key, service }) => key === 'load' && service === 'chat')
      return {
        requests: ours.reduce((sum, { requests }) => sum + requests, 0),
        tokens: ours.reduce((sum, { inputTokens, outputTokens }) => sum + inputTokens + outputTokens, 0),
      }
    },
  }
}
