import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { makeAuthority } from '@sotto/certs/authority.ts'
import { issueLeaf } from '@sotto/certs/leaf.ts'
import { statePaths } from '@sotto/provisioning/state.ts'
import { afterEach, expect, it } from 'vitest'
import { valkey } from './check.ts'
import { startRedis } from './redis.fixture.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** What the doctor finds with this `valkey` in config.yaml, and this password in the file that it names. */
async function find(config: unknown, password = '') {
  const directory = await mkdtemp(join(tmpdir(), 'sotto-valkey-'))
  closers.push(() => rm(directory, { recursive: true }))
  await writeFile(join(directory, 'config.yaml'), JSON.stringify(config))
  await writeFile(join(directory, 'valkey.password'), `${password}\n`, { mode: 0o600 })
  return valkey.run({ state: statePaths(directory) })
}

it('says which it is, and what is wrong with it', async () => {
  expect(await find({})).toMatchObject({ status: 'skipped' })
  const redis = await startRedis()
  closers.push(redis.close)
  expect(await find({ valkey: redis.url })).toMatchObject({
    status: 'ok',
    message: expect.stringMatching(/^\d+\.\d+\.\d+ at 127\.0\.0\.1:\d+$/),
  })
  await redis.ask('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  expect(await find({ valkey: redis.url })).toMatchObject({
    status: 'warning',
    message: expect.stringContaining('allkeys-lru'),
  })
  await redis.crash()
  expect(await find({ valkey: redis.url })).toMatchObject({
    status: 'failed',
    message: expect.stringContaining('ECONNREFUSED'),
    remedy: expect.stringContaining('valkey-server'),
  })
})

it('shows its password by the file alone, and says no word of it', async () => {
  const secret = 'a secret of some length'
  const redis = await startRedis(['--requirepass', secret], secret)
  closers.push(redis.close)
  const config = { valkey: { url: redis.url, passwordFile: 'valkey.password' } }
  expect(await find(config, secret)).toMatchObject({ status: 'ok' })
  const wrong = await find(config, 'another secret')
  expect(wrong).toMatchObject({ status: 'failed', message: expect.stringContaining('WRONGPASS') })
  expect(JSON.stringify(wrong)).not.toContain('another secret')
})

it('is spoken to by TLS, and has to be whom it is taken for', async () => {
  const redis = await startRedis()
  closers.push(redis.close)
  const certs = await mkdtemp(join(tmpdir(), 'sotto-valkey-'))
  closers.push(() => rm(certs, { recursive: true }))
  const authority = await makeAuthority(certs, {
    name: 'Valkey',
    permitted: { dns: ['localhost'], ip: ['127.0.0.1/32'] },
  })
  const { cert, key } = await issueLeaf(authority, { names: ['localhost'] })
  const server = createServer({ cert, key }, (socket) => {
    const plain = connect(Number(new URL(redis.url).port), '127.0.0.1')
    for (const one of [socket, plain]) one.on('error', () => {})
    socket.pipe(plain).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  const { port } = server.address() as AddressInfo
  const url = `rediss://localhost:${port}`
  const ca = join(certs, 'root.crt')
  expect(await find({ valkey: { url, ca } })).toMatchObject({ status: 'ok' })
  for (const wrong of [{ url }, { url: `rediss://127.0.0.1:${port}`, ca }])
    expect(await find({ valkey: wrong })).toMatchObject({ status: 'failed' })
})
