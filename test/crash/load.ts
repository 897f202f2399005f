/** A mixed load on one gateway: all that people and the admin write, each by the door that they use. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import type { Chance } from './chance.ts'
import type { Answer, Door } from './door.ts'
import { measureLateness } from './lateness.ts'
import type { Spent } from './spent.ts'
import type { Value, Witness } from './witness.ts'

export interface Session {
  /** The admin's, confirmed. */
  readonly cookie: string
  /** Of the admin's key `load`, by which rooms are opened and models asked. */
  readonly secret: string
  /** The room that is written in now. */
  room: string
}

export interface LoadDeps {
  readonly door: Door
  readonly chance: Chance
  readonly witness: Witness
  readonly spent: Spent
  readonly session: Session
  /** On the gateway's disk. */
  readonly directory: string
  /** A name that was never given. */
  fresh(stem: string): string
  /** What the audit is to have of this load is of this kind. */
  readonly requests: string
}

export interface Load {
  /** Resolves when the first write is acknowledged. */
  readonly begun: Promise<void>
  /** Begins nothing more, and waits for what is on its way. */
  quiet(): Promise<void>
  /** Called right before the process is killed; resolves when everybody has seen it. */
  killed(): Promise<void>
  /** How late the gateway was, at the most, milliseconds. */
  late(): number
  /** What should not have been: a connection that broke before the kill, an answer of 500. */
  readonly wrong: readonly string[]
  /** Ids of the conversations that were begun. */
  readonly conversations: ReadonlySet<string>
}

/** As README.md says: what is said is on disk within so long. */
const saidWithinMs = 250
/** And so is the row of a request. */
const recordedWithinMs = 100
/** Of each kind there are about so many; more come only as others go. */
const usual = 8

export function startLoad(deps: LoadDeps): Load {
  const { door, chance, witness, session, fresh } = deps
  let ending: 'not' | 'quiet' | 'killed' = 'not'
  const goesOn = (): boolean => ending === 'not'
  const isKilled = (): boolean => ending === 'killed'
  const begun = Promise.withResolvers<void>()
  const wrong: string[] = []
  const conversations = new Set<string>()
  const asAdmin = { cookie: session.cookie }
  const asKey = { 'x-api-key': session.secret }

  type Wish = readonly [name: string, value: Value]
  /** Asks for a change; what becomes of it is witnessed. */
  const change = async (
    wishes: readonly Wish[],
    method: string,
    path: string,
    body?: object,
    headers: Readonly<Record<string, string>> = asAdmin,
  ): Promise<Answer> => {
    const asked = witness.asks(...wishes)
    const answer = await door.ask(method, path, body, headers)
    if (answer.status < 300) {
      asked.acknowledged()
      begun.resolve()
    } else if (answer.status < 500) asked.refused()
    else wrong.push(`${method} ${path}: ${answer.status} ${answer.text}`)
    return answer
  }
  const few = (kind: string): boolean => witness.settled(kind).length < usual || chance.happens(0.2)
  const admin = (kind: string, name: string): string => `/sotto/admin/${kind}/${encodeURIComponent(name)}`

  const device = async (): Promise<unknown> => {
    const name = chance.one(witness.settled('device'))
    if (name === undefined || (few('device') && chance.happens(0.5))) {
      const made = fresh('device')
      return change([[`device ${made}`, 'enabled']], 'POST', '/sotto/admin/devices', {
        name: made,
        by: 'config',
      })
    }
    const path = admin('devices', name)
    const is = witness.valueOf(`device ${name}`) ?? 'enabled'
    const what = chance.whole(3)
    if (what === 0) return change([[`device ${name}`, null]], 'DELETE', path)
    if (what === 1) {
      const disabled = is === 'enabled'
      return change([[`device ${name}`, disabled ? 'disabled' : 'enabled']], 'PATCH', path, { disabled })
    }
    const next = fresh('device')
    return change(
      [
        [`device ${name}`, null],
        [`device ${next}`, is],
      ],
      'PATCH',
      path,
      { name: next },
    )
  }
  const key = async (): Promise<unknown> => {
    const name = chance.one(witness.settled('key').filter((one) => one !== 'load'))
    if (name === undefined || (few('key') && chance.happens(0.5))) {
      const made = fresh('key')
      return change([[`key ${made}`, 'active']], 'POST', '/sotto/admin/keys', { name: made })
    }
    if (chance.happens(0.5)) return change([[`key ${name}`, null]], 'DELETE', admin('keys', name))
    const disabled = witness.valueOf(`key ${name}`) === 'active'
    const wish: Wish = [`key ${name}`, disabled ? 'disabled' : 'active']
    return change([wish], 'PATCH', admin('keys', name), { disabled })
  }
  const person = async (): Promise<unknown> => {
    const name = chance.one(witness.settled('person').filter((one) => one !== 'ada'))
    const tenant = chance.one(witness.settled('tenant')) ?? 'home'
    if (name === undefined || (few('person') && chance.happens(0.5))) {
      const made = fresh('person')
      return change([[`person ${made}`, tenant]], 'POST', '/sotto/admin/people', { name: made, tenant })
    }
    const is = witness.valueOf(`person ${name}`) ?? 'home'
    const what = chance.whole(3)
    if (what === 0) return change([[`person ${name}`, null]], 'DELETE', admin('people', name))
    if (what === 1) return change([[`person ${name}`, tenant]], 'PATCH', admin('people', name), { tenant })
    const next = fresh('person')
    return change(
      [
        [`person ${name}`, null],
        [`person ${next}`, is],
      ],
      'PATCH',
      admin('people', name),
      { name: next },
    )
  }
  const tenant = async (): Promise<unknown> => {
    const name = chance.one(witness.settled('tenant').filter((one) => one !== 'home'))
    if (name === undefined || witness.settled('tenant').length < usual) {
      const made = fresh('tenant')
      return change([[`tenant ${made}`, 'enabled']], 'POST', '/sotto/admin/tenants', { name: made })
    }
    if (chance.happens(0.5)) {
      const requestsPerMinute = chance.whole(1_000)
      const wish: Wish = [`limit tenant:${name}`, String(requestsPerMinute)]
      return change([wish], 'PATCH', admin('limits', `tenant:${name}`), { requestsPerMinute })
    }
    const disabled = witness.valueOf(`tenant ${name}`) === 'enabled'
    const wish: Wish = [`tenant ${name}`, disabled ? 'disabled' : 'enabled']
    return change([wish], 'PATCH', admin('tenants', name), { disabled })
  }
  const conversation = async (): Promise<unknown> => {
    const id = chance.one(witness.settled('conversation'))
    if (id === undefined) return undefined
    const path = `/sotto/conversations/${id}`
    const is = witness.valueOf(`conversation ${id}`) ?? ''
    // What is being said goes on.
    if (conversations.has(id) || chance.happens(0.6)) {
      const title = fresh('title')
      return change([[`conversation ${id}`, title]], 'PATCH', path, { title })
    }
    await change([[`conversation ${id}`, null]], 'DELETE', path)
    if (chance.happens(0.7)) await change([[`conversation ${id}`, is]], 'POST', `${path}/restore`)
    return undefined
  }
  const message = async (): Promise<unknown> => {
    const kind = `message:${session.room}`
    const id = chance.one(witness.settled(kind))
    const place = `/sotto/rooms/${session.room}/messages`
    const text = fresh('text')
    if (id === undefined || chance.happens(0.6)) {
      const made = randomUUID()
      return change([[`${kind} ${made}`, text]], 'POST', place, { id: made, text }, asKey)
    }
    if (chance.happens(0.3))
      return change([[`${kind} ${id}`, null]], 'DELETE', `${place}/${id}`, undefined, asKey)
    return change([[`${kind} ${id}`, text]], 'PATCH', `${place}/${id}`, { text }, asKey)
  }
  const ask = async (): Promise<void> => {
    const body = {
      model: 'stand-in',
      stream: chance.happens(0.5),
      messages: [
        { role: 'user', content: Array.from({ length: 1 + chance.whole(6) }, () => 'word').join(' ') },
      ],
      options: { num_predict: 8 + chance.whole(40) },
    }
    const settle = deps.spent.begin(JSON.stringify(body).length + body.options.num_predict)
    const answer = await door.ask('POST', '/api/chat', body, asKey)
    const last = JSON.parse(answer.text.trimEnd().split('\n').at(-1) ?? '')
    if (answer.status !== 200 || last.done !== true) {
      wrong.push(`POST /api/chat: ${answer.status} ${answer.text}`)
      return
    }
    settle(last.prompt_eval_count + last.eval_count)
    witness.asks([`${deps.requests} ${answer.id}`, 'recorded']).acknowledged(recordedWithinMs)
  }

  /** A session in a conversation of its own; each thing said is witnessed when it is acknowledged. */
  const talk = async (): Promise<void> => {
    const socket = door.open('/v1/realtime?model=stand-in', 'realtime.sotto.v1')
    const gone = once(socket, 'close').catch(() => undefined)
    socket.on('error', () => undefined)
    let id = ''
    const waiting = new Map<string, ReturnType<Witness['asks']>>()
    const sayNext = (): void => {
      if (!goesOn()) return
      const item = fresh('item')
      waiting.set(item, witness.asks([`said:${id} ${item}`, item]))
      const content = [{ type: 'input_text', text: item }]
      const event = {
        type: 'conversation.item.create',
        item: { id: item, type: 'message', role: 'user', content },
      }
      socket.send(JSON.stringify(event))
    }
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) return
      const event = JSON.parse(data.toString())
      if (event.type === 'session.created') {
        id = event.session.x_conversation
        conversations.add(id)
        witness.learn(`conversation ${id}`)
        sayNext()
      }
      if (event.type === 'error') wrong.push(`talk: ${data.toString()}`)
      if (event.type !== 'conversation.item.done') return
      waiting.get(event.item.id)?.acknowledged(saidWithinMs)
      void pause(chance.whole(20)).then(sayNext)
    })
    while (goesOn() && socket.readyState <= 1) await Promise.race([gone, pause(10)])
    if (ending === 'quiet') socket.terminate()
    await gone
  }

  const lateness = measureLateness(door, deps.directory)
  const forEver = async (name: string, task: () => Promise<unknown>): Promise<void> => {
    while (goesOn()) {
      try {
        await task()
      } catch (error) {
        if (!isKilled()) wrong.push(`${name}: ${String(error)}`)
        return
      }
    }
  }
  const everybody = Promise.all([
    forEver('device', device),
    forEver('key or tenant', () => (chance.happens(0.4) ? tenant() : key())),
    forEver('person', person),
    forEver('conversation', async () => {
      await conversation()
      await pause(chance.whole(30))
    }),
    forEver('message', async () => {
      await message()
      await pause(chance.whole(20))
    }),
    forEver('ask', ask),
    forEver('ask', ask),
    forEver('lateness', lateness.look),
    forEver('talk', talk),
  ])
  let late = 0
  return {
    begun: begun.promise,
    wrong,
    conversations,
    late: () => late,
    async quiet() {
      ending = 'quiet'
      await everybody
      late = lateness.most()
    },
    async killed() {
      if (goesOn()) late = lateness.most()
      ending = 'killed'
      await everybody
    },
  }
}
