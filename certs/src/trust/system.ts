/** Linux system stores: a directory for local roots, and the command that takes them up (mkcert, `truststore_linux.go`). */
import { existsSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writePem } from '../pem-file.ts'
import { fileName, type Root, type Run, type TrustStore } from './store.ts'

interface Family {
  readonly name: string
  readonly directory: string
  readonly extension: string
  readonly update: readonly [string, ...string[]]
}

const families: readonly Family[] = [
  {
    name: 'Fedora',
    directory: '/etc/pki/ca-trust/source/anchors',
    extension: 'pem',
    update: ['update-ca-trust', 'extract'],
  },
  {
    name: 'Debian',
    directory: '/usr/local/share/ca-certificates',
    extension: 'crt',
    update: ['update-ca-certificates'],
  },
  {
    name: 'Arch',
    directory: '/etc/ca-certificates/trust-source/anchors',
    extension: 'crt',
    update: ['trust', 'extract-compat'],
  },
  {
    name: 'SUSE',
    directory: '/usr/share/pki/trust/anchors',
    extension: 'pem',
    update: ['update-ca-certificates'],
  },
]

/** The store of this system: the first family whose directory is there; none elsewhere. @param root `/` but in tests */
export function systemStores(run: Run, root = '/'): TrustStore[] {
  const family = families.find(({ directory }) => existsSync(join(root, directory)))
  if (!family) return []
  const { name, directory, extension, update } = family
  const fileOf = (certificate: Root) => join(root, directory, `${fileName(certificate)}.${extension}`)
  const [command, ...args] = update
  return [
    {
      name: `the system store (${name})`,
      has: async (certificate) =>
        (await readFile(fileOf(certificate), 'utf8').catch(() => '')) === certificate.pem,
      async install(certificate) {
        await writePem(fileOf(certificate), certificate.pem, 0o644)
        await run(command, args)
      },
      async uninstall(certificate) {
        await rm(fileOf(certificate), { force: true })
        // Debian keeps links to what is gone unless told to begin afresh.
        await run(command, command === 'update-ca-certificates' ? [...args, '--fresh'] : args)
      },
    },
  ]
}
