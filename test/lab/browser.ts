/** Debian's Chromium in a host of the lab: our CA in its store, a WAV file for a microphone. */
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { chromium, type BrowserContext, type BrowserContextOptions } from 'playwright-core'
import type { Host } from './lab.ts'

export interface BrowserOptions extends BrowserContextOptions {
  /** The CA to trust; PEM. No flag makes the browser take another certificate. */
  readonly ca: string
  /** Plays once, from the moment at which the page opens the microphone. */
  readonly microphone: string
  /** For the profile; it may be used again. */
  readonly directory: string
}

export async function openBrowser(
  host: Host,
  { ca, microphone, directory, ...options }: BrowserOptions,
): Promise<BrowserContext> {
  const database = join(directory, '.pki', 'nssdb')
  await mkdir(database, { recursive: true })
  await execa('certutil', ['-N', '-d', `sql:${database}`, '--empty-password'], { reject: false })
  await execa('certutil', ['-A', '-d', `sql:${database}`, '-n', 'Sotto', '-t', 'C,,', '-i', ca])
  const wrapper = join(directory, 'chromium-in-namespace')
  await writeFile(wrapper, `#!/bin/sh\nexec ip netns exec ${host.name} /usr/bin/chromium "$@"\n`)
  await chmod(wrapper, 0o700)
  return chromium.launchPersistentContext(join(directory, 'profile'), {
    executablePath: wrapper,
    env: { PATH: process.env.PATH ?? '', HOME: directory },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--disable-component-update',
      '--disable-sync',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      `--use-file-for-fake-audio-capture=${microphone}%noloop`,
    ],
    permissions: ['microphone'],
    ...options,
  })
}
