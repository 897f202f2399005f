/** Debian's Chromium, in a host of the lab or here: our CA in its store, a WAV file for a microphone. */
import { existsSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { chromium, type BrowserContext, type BrowserContextOptions } from 'playwright-core'
import type { Host } from './lab.ts'

export interface BrowserOptions extends BrowserContextOptions {
  /** The CA to trust; PEM. No flag makes the browser take another certificate. Left out, it knows none of ours. */
  readonly ca?: string
  /** Plays once, from the moment at which the page opens the microphone. */
  readonly microphone?: string
  /** Where names lead that no server knows: `MAP sotto.internal 10.77.0.1`. */
  readonly names?: string
  /** For the profile; it may be used again. */
  readonly directory: string
}

export async function openBrowser(
  host: Host | undefined,
  { ca, microphone, names, directory, ...options }: BrowserOptions,
): Promise<BrowserContext> {
  const database = databaseOf(directory)
  await mkdir(database, { recursive: true })
  // Asked to make one that is there, certutil wants its password for ever.
  if (!existsSync(join(database, 'cert9.db')))
    await execa('certutil', ['-N', '-d', `sql:${database}`, '--empty-password'])
  if (ca !== undefined) await trustIn(directory, ca)
  return chromium.launchPersistentContext(join(directory, 'profile'), {
    executablePath: host ? await inNamespace(host, directory) : '/usr/bin/chromium',
    env: { PATH: process.env.PATH ?? '', HOME: directory },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--disable-component-update',
      '--disable-sync',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      ...(names === undefined ? [] : [`--host-resolver-rules=${names}`]),
      ...(microphone === undefined ? [] : [`--use-file-for-fake-audio-capture=${microphone}%noloop`]),
    ],
    permissions: ['microphone'],
    ...options,
  })
}

/** Adds a CA to those that the browser of this directory trusts. */
export async function trustIn(directory: string, ca: string): Promise<void> {
  await execa('certutil', ['-A', '-d', `sql:${databaseOf(directory)}`, '-n', 'Sotto', '-t', 'C,,', '-i', ca])
}

function databaseOf(directory: string): string {
  return join(directory, '.pki', 'nssdb')
}

async function inNamespace(host: Host, directory: string): Promise<string> {
  const wrapper = join(directory, 'chromium-in-namespace')
  await writeFile(wrapper, `#!/bin/sh\nexec ip netns exec ${host.name} /usr/bin/chromium "$@"\n`)
  await chmod(wrapper, 0o700)
  return wrapper
}
