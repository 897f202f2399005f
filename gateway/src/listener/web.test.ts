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

it('draws its own page for an address that is none, and tells programs so', async () => {
  const web = createWeb('/nonexistent')
  const page = await web.request('/nowhere', { headers: { accept: 'text/html,*/*' } })
  expect([page.status, page.headers.get('content-type')]).toEqual([404, 'text/html; charset=UTF-8'])
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'")
  const program = await web.request('/nowhere')
  expect([program.status, await program.text()]).toEqual([404, ''])
})

it('says how to build the web app where it is not built', async () => {
  const answer = await createWeb('/nonexistent').request('/')
  expect(await answer.text()).toContain('npm start')
})
