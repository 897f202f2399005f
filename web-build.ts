/** Builds the web app when its sources are newer than what is built. */
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync } from 'node:fs'
import { glob, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Progress } from '@sotto/gateway/main.ts'
import { execa } from 'execa'
import writeFileAtomic from 'write-file-atomic'

/** @param web the workspace. Resolves to the directory of static files. */
export async function ensureWeb(web: string, progress: Progress): Promise<string> {
  const built = join(web, '.output', 'public')
  const stamp = join(web, '.output', 'built-from')
  const sources = await digest(web)
  const known = existsSync(join(built, 'index.html')) ? await readFile(stamp, 'utf8').catch(() => '') : ''
  if (known === sources) return built
  if (known !== '' && !isWritable(web)) {
    // The service can't build; a page of yesterday is better than none.
    progress.notice('The page is older than its sources. To build it: sudo ./sotto service install')
    return built
  }
  await progress.step(
    'Web app',
    async () => {
      await execa({
        cwd: web,
        preferLocal: true,
        localDir: web,
        env: { NUXT_TELEMETRY_DISABLED: '1' },
      })`nuxt generate`
      await writeFileAtomic(stamp, sources)
    },
    () => 'built',
  )
  return built
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** One hash over every file that the build reads. */
async function digest(web: string): Promise<string> {
  const root = resolve(web, '..')
  const files = await Array.fromAsync(
    glob(
      [
        'web/{app,i18n,public,shared}/**/*.*',
        'web/*.{ts,json}',
        'gateway/src/protocol/*.ts',
        'pnpm-lock.yaml',
      ],
      { cwd: root },
    ),
  )
  const hash = createHash('sha256')
  for (const file of files.toSorted()) hash.update(file).update(await readFile(join(root, file)))
  return hash.digest('hex')
}
