import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createWeb, inlineScriptHashes } from './web.ts'

it('lets the page’s own inline scripts run and no others', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sotto-web-'))
  const script = 'window.__NUXT__={}'
  await writeFile(
    join(directory, 'index.html'),
    `<script>${script}</script><script type="module" src="/a.js"></script>`,
  )
  const answer = await createWeb(directory).request('/')
  const policy = answer.headers.get('content-security-policy') ?? ''
  expect(policy).toContain(
    `script-src 'self' 'sha256-${createHash('sha256').update(script).digest('base64')}';`,
  )
  expect(policy).not.toMatch(/script-src[^;]*unsafe/)
  expect(inlineScriptHashes('<script src="/b.js"></script>')).toEqual([])
  await rm(directory, { recursive: true })
})

it('says how to build the web app where it is not built', async () => {
  const answer = await createWeb('/nonexistent').request('/')
  expect(await answer.text()).toContain('npm start')
})
