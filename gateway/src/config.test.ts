import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ollamaHost, readConfig } from './config.ts'

describe('the options', () => {
  it('have defaults', () => {
    expect(readConfig({ ollama: 'http://127.0.0.1:11434' })).toEqual({
      port: 8443,
      loopback: false,
      firstDevice: true,
      ollama: 'http://127.0.0.1:11434',
      file: {
        accounts: { signUp: false, tenant: 'guests' },
        aliases: {},
        services: [],
        origins: [],
        relay: { outside: false },
        limits: { keepAlive: 3_600_000, contextTokens: 131_072 },
        auditDays: 90,
      },
    })
  })

  for (const [option, value] of [
    ['port', 'many'],
    ['port', '70000'],
    ['whisper', 'localhost:8080'],
    ['ollama', 'ftp://127.0.0.1'],
  ] as const)
    it(`name --${option} when it is “${value}”`, () => {
      expect(() => readConfig({ [option]: value })).toThrow(`--${option}: “${value}”`)
    })
})

describe('OLLAMA_HOST', () => {
  for (const [given, url] of [
    [undefined, undefined],
    ['', undefined],
    ['0.0.0.0', 'http://127.0.0.1:11434'],
    [':1234', 'http://127.0.0.1:1234'],
    ['10.0.0.5:1234', 'http://10.0.0.5:1234'],
    ['https://gpu.example', 'https://gpu.example:443'],
    ['http://gpu.example/', 'http://gpu.example:80'],
    ['"127.0.0.1"', 'http://127.0.0.1:11434'],
    ['[::]:99', 'http://127.0.0.1:99'],
  ] as const)
    it(`“${given ?? ''}” is dialled at ${url ?? 'the default'}`, () => {
      expect(ollamaHost(given)).toBe(url)
    })
})

describe('config.yaml', () => {
  const read = async (text: string) => {
    const folder = await mkdtemp(join(tmpdir(), 'sotto-config-'))
    await writeFile(join(folder, 'config.yaml'), text)
    try {
      return readConfig({ state: folder }).file
    } finally {
      await rm(folder, { recursive: true })
    }
  }

  it('is taken from the state directory, with its defaults', async () => {
    const file = await read(`
backends:
  - { name: desk, url: http://127.0.0.1:11434/ }
services:
  - name: rerank
    upstream: http://127.0.0.1:9000
    paths: [/v1/rerank]
    timeout: 90s
limits: { keepAlive: 10m }
origins: [https://chat.home/]
`)
    expect(file).toMatchObject({
      backends: [{ name: 'desk', url: 'http://127.0.0.1:11434', kind: 'ollama', parallel: 4 }],
      services: [{ name: 'rerank', methods: ['POST'], timeout: 90_000 }],
      limits: { keepAlive: 600_000 },
      origins: ['https://chat.home'],
    })
  })

  it('names what hears and what speaks', async () => {
    expect(await read('whisper: tcp://127.0.0.1:10300/')).toMatchObject({
      whisper: { url: 'tcp://127.0.0.1:10300', parallel: 1 },
    })
    expect(await read('whisper: { url: http://127.0.0.1:8000, parallel: 4 }')).toMatchObject({
      whisper: { url: 'http://127.0.0.1:8000', parallel: 4 },
    })
    expect(await read('embedded: true')).toMatchObject({ embedded: 'whisper-base' })
    expect((await read('embedded: false')).embedded).toBeUndefined()
    expect(await read('embedded: { whisper: whisper-tiny.en }')).toMatchObject({
      embedded: 'whisper-tiny.en',
    })
    for (const speech of [{ engine: 'wyoming', url: 'tcp://127.0.0.1:10200' }, { engine: 'sherpa' }])
      expect(await read(JSON.stringify({ speech }))).toMatchObject({ speech })
  })

  for (const [what, text, said] of [
    ['a field that is not known', 'bakends: []', /config\.yaml: bakends: is not known/],
    ['a value that is wrong', 'backends: [{ name: A b, url: http://x }]', /backends\.0\.name: is no name/],
    ['a duration that is none', 'limits: { keepAlive: soon }', /limits\.keepAlive: is no duration/],
    ['a voice without its server', 'speech: { engine: piper }', /speech: needs its url/],
    ['a server of another kind', 'speech: { engine: wyoming, url: http://x }', /speech: needs a tcp:/],
    ['a voice that is none', 'speech: { engine: sherpa, model: hal }', /speech: has one of these.*kokoro/],
    ['a Whisper that is none', 'embedded: { whisper: huge }', /embedded.*whisper-tiny\.en/],
    ['mail by no way', 'mail: { url: http://x, from: a@b.c }', /mail\.url: is no smtp/],
    ['mail at no address', 'mail: { url: post, from: a@b.c }', /mail\.url: is no smtp/],
    ['a password in an address', 'mail: { url: "smtp://a:b@x", from: a@b.c }', /mail\.url: holds a password/],
    [
      'a password that is not there',
      'mail: { url: smtp://x, from: a@b.c, passwordFile: p }',
      /passwordFile: p can’t/,
    ],
    ['a store that is none', 'valkey: http://x', /valkey\.url: is no redis/],
    ['a store at no address', 'valkey: yes please', /valkey\.url: is no redis/],
    ['a store that has no address', 'valkey: 6379', /valkey/],
    ['a password in its address', 'valkey: { url: "redis://:b@x" }', /valkey.*holds a password/],
    [
      'neighbours at any address',
      'valkey: { url: redis://x, listen: "0.0.0.0:1" }',
      /valkey\.listen: is every/,
    ],
    ['a store by a name', 'valkey: redis://x/limits', /valkey.*a database that is no number/],
    ['sign-up without mail', 'accounts: { signUp: true }', /signUp: without mail/],
    ['what is no YAML', 'backends: [', /can’t be read/],
  ] as const)
    it(`is refused with its place for ${what}`, async () => {
      await expect(read(text)).rejects.toThrow(said)
    })

  it('may be what the README shows', async () => {
    const readme = await readFile(join(import.meta.dirname, '..', '..', 'README.md'), 'utf8')
    const [, shown = ''] = /```yaml\n(.*?)```/s.exec(readme) ?? []
    const file = await read(shown)
    expect(Object.keys(file).toSorted()).toEqual([
      'accounts',
      'aliases',
      'auditDays',
      'backends',
      'database',
      'embedded',
      'images',
      'limits',
      'mail',
      'origins',
      'relay',
      'services',
      'speech',
      'tunnel',
      'valkey',
      'whisper',
    ])
  })

  it('names a file for the password of mail, which nobody else may read', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sotto-config-'))
    const mail = {
      url: 'smtp://ada@mail.example.org',
      from: 'ada@example.org',
      passwordFile: 'mail.password',
    }
    await writeFile(join(folder, 'config.yaml'), JSON.stringify({ mail }))
    await writeFile(join(folder, 'mail.password'), 'a secret\n', { mode: 0o644 })
    try {
      expect(() => readConfig({ state: folder })).toThrow('others may read mail.password')
      await chmod(join(folder, 'mail.password'), 0o600)
      expect(readConfig({ state: folder }).mail).toMatchObject({ password: 'a secret', ca: undefined })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('has the password of Valkey from a file or the environment, and is told of a host alone', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sotto-config-'))
    const write = (valkey: unknown) => writeFile(join(folder, 'config.yaml'), JSON.stringify({ valkey }))
    process.env.SOTTO_VALKEY_PASSWORD = 'from outside'
    try {
      await write('redis://valkey:6380/2')
      expect(readConfig({ state: folder }).valkey).toEqual({
        url: 'redis://valkey:6380/2',
        password: 'from outside',
        ca: undefined,
        listen: { host: '127.0.0.1', port: 0 },
      })
      await write({ url: 'rediss://sotto@valkey', passwordFile: 'valkey.password' })
      await writeFile(join(folder, 'valkey.password'), 'a secret\n', { mode: 0o640 })
      await chmod(join(folder, 'valkey.password'), 0o640)
      expect(() => readConfig({ state: folder })).toThrow('others may read valkey.password')
      await chmod(join(folder, 'valkey.password'), 0o600)
      expect(readConfig({ state: folder }).valkey).toMatchObject({ password: 'a secret' })
    } finally {
      delete process.env.SOTTO_VALKEY_PASSWORD
      await rm(folder, { recursive: true })
    }
  })

  it('of another directory does not say where the database is, since no other command would see it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sotto-config-'))
    const config = join(folder, 'elsewhere.yaml')
    await writeFile(config, 'database: postgres://sotto@127.0.0.1/sotto\n')
    try {
      expect(() => readConfig({ state: folder, config })).toThrow('every command needs it')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('that is named and not there is said', () => {
    expect(() => readConfig({ config: '/nonexistent.yaml' })).toThrow('/nonexistent.yaml can’t be read')
  })
})
