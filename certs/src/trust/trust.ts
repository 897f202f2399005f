/** Every trust store of this machine, whichever system it runs. */
import { X509Certificate } from 'node:crypto'
import { homedir } from 'node:os'
import { execa, ExecaError } from 'execa'
import { AuthorityError } from '../authority-error.ts'
import { commonNameOf } from '../certificate.ts'
import { macosStores } from './macos.ts'
import { nssStores } from './nss.ts'
import type { Root, Run, TrustStore } from './store.ts'
import { systemStores } from './system.ts'
import { windowsStores } from './windows.ts'

export interface Surroundings {
  readonly platform: NodeJS.Platform
  /** Of the person whose browsers are meant. */
  readonly home: string
  readonly run: Run
}

export function trustStores({ platform, home, run }: Surroundings): TrustStore[] {
  if (platform === 'darwin') return [...macosStores(run), ...nssStores(run, home)]
  if (platform === 'win32') return windowsStores(run)
  return [...systemStores(run), ...nssStores(run, home)]
}

/** This machine; under sudo the browsers are those of the one who typed it. */
export async function thisMachine(): Promise<Surroundings> {
  const user = process.getuid?.() === 0 ? process.env.SUDO_USER : undefined
  const home = user === undefined ? undefined : await homeOf(user)
  return { platform: process.platform, home: home ?? homedir(), run: runProgram }
}

export function rootOf(pem: string, file: string): Root {
  const certificate = new X509Certificate(pem)
  return {
    pem,
    file,
    name: commonNameOf(certificate),
    fingerprint: certificate.fingerprint256,
    thumbprint: certificate.fingerprint.replaceAll(':', ''),
  }
}

const runProgram: Run = async (file, args) => {
  try {
    const { stdout } = await execa(file, [...args])
    return { stdout }
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error
    if (error.code === 'ENOENT')
      throw new AuthorityError(
        'inaccessible',
        `${file} is not installed.`,
        remedies[file] ?? `Install ${file}.`,
        error,
      )
    const { stderr }: { readonly stderr?: unknown } = error
    const said = (typeof stderr === 'string' && stderr.trim()) || error.shortMessage
    throw new AuthorityError(
      'inaccessible',
      `\`${file}\` failed: ${said}`,
      'System stores take root: sudo ./sotto cert install',
      error,
    )
  }
}

const remedies: Record<string, string> = {
  certutil: 'sudo apt-get install libnss3-tools (Fedora: nss-tools; Arch: nss; macOS: brew install nss)',
  'update-ca-certificates': 'sudo apt-get install ca-certificates',
}

async function homeOf(user: string): Promise<string | undefined> {
  const { failed, stdout } = await execa('getent', ['passwd', user], { reject: false })
  return failed ? undefined : stdout.split(':')[5]
}
