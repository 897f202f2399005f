/** `sotto cert install` for real: Debian's store and NSS, in a mount namespace, so that this machine's stay as they are. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa, type ResultPromise } from 'execa'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startGateway, temporaryDirectory, type RunningGateway } from './lab/gateway.ts'

const root = join(import.meta.dirname, '..')

describe('a machine that trusts the CA', () => {
  let gateway: RunningGateway
  let home: string
  let place: ResultPromise
  const closers: (() => Promise<unknown>)[] = []
  const databases = [
    '.pki/nssdb',
    '.mozilla/firefox/test.default-release',
    'snap/firefox/common/.mozilla/firefox/x.default',
  ]

  /** Runs a program where the system's store is a copy. */
  const inside = (file: string, ...args: string[]) =>
    execa('nsenter', ['-t', String(place.pid), '-m', file, ...args], {
      env: { HOME: home, SUDO_USER: undefined },
      reject: false,
    })
  const cert = async (...args: string[]) => {
    const { stdout, stderr, exitCode } = await inside(
      process.execPath,
      join(root, 'sotto.ts'),
      'cert',
      ...args,
      '--state',
      gateway.state,
      '--json',
    )
    if (stdout === '') throw new Error(stderr)
    const { results } = JSON.parse(stdout)
    return {
      exitCode,
      results: Object.fromEntries(
        results.map(({ store, result }: Record<string, string>) => [store, result]),
      ),
    }
  }
  const curls = async () => (await inside('curl', '-sS', `${gateway.origins[0]}/healthz`)).exitCode
  const opens = async (): Promise<string> => {
    const browser = await chromium.launchPersistentContext(join(home, 'profile'), {
      executablePath: '/usr/bin/chromium',
      env: { PATH: process.env.PATH ?? '', HOME: home },
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-component-update',
        '--disable-sync',
      ],
    })
    try {
      const page = await browser.newPage()
      return await page.goto(`${gateway.origins[0]}/healthz`).then(
        async (answer) => (await answer?.text()) ?? '',
        (error: unknown) => /net::\w+/.exec(String(error))?.[0] ?? String(error),
      )
    } finally {
      await browser.close()
    }
  }

  beforeAll(async () => {
    const folder = await temporaryDirectory()
    closers.push(folder.remove)
    home = folder.path
    for (const database of databases) {
      await mkdir(join(home, database), { recursive: true })
      await execa('certutil', ['-N', '-d', `sql:${join(home, database)}`, '--empty-password'])
    }
    gateway = await startGateway(
      undefined,
      join(home, 'state'),
      '--loopback',
      '--port',
      '0',
      '--ollama',
      'http://127.0.0.1:9',
      '--endpoint',
      '192.0.2.1',
    )
    closers.push(gateway.stop)
    const script = `cp -a /etc/ssl/certs ${home}/certs && mount --bind ${home}/certs /etc/ssl/certs && mount -t tmpfs none /usr/local/share/ca-certificates && echo ready && exec sleep 600`
    await writeFile(join(home, 'place.sh'), script)
    place = execa('unshare', ['-m', 'sh', join(home, 'place.sh')], { reject: false, buffer: false })
    closers.push(async () => {
      place.kill('SIGKILL')
      await place
    })
    await new Promise((settle) => place.stdout?.once('data', settle))
  })
  afterAll(async () => {
    for (const close of closers.toReversed()) await close()
  })

  it('does not before it is told to', async () => {
    const { exitCode, results } = await cert('check')
    expect(exitCode).toBe(1)
    expect(new Set(Object.values(results))).toEqual(new Set(['not trusted']))
    expect(Object.keys(results)).toHaveLength(databases.length + 1)
    expect(await curls()).toBe(60)
    expect(await opens()).toBe('net::ERR_CERT_AUTHORITY_INVALID')
  })

  it('does in every program after `cert install`, which may be run again', async () => {
    expect(new Set(Object.values((await cert('install')).results))).toEqual(new Set(['trusted now']))
    expect(new Set(Object.values((await cert('install')).results))).toEqual(new Set(['trusted already']))
    expect((await cert('check')).exitCode).toBe(0)
    expect(await curls()).toBe(0)
    expect(await opens()).toBe('ok')
  })

  it('does no more after `cert uninstall`', async () => {
    expect(new Set(Object.values((await cert('uninstall')).results))).toEqual(new Set(['removed']))
    expect((await cert('check')).exitCode).toBe(1)
    expect(await curls()).toBe(60)
    expect(await opens()).toBe('net::ERR_CERT_AUTHORITY_INVALID')
  })
})
