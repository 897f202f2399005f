/** NSS databases: Firefox's profiles, snap and flatpak ones too, and Chromium's. By certutil (libnss3-tools). */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileName, type Run, type TrustStore } from './store.ts'

/** Directories of profiles, each with a database. */
const profileFolders = [
  ['Firefox', '.mozilla/firefox'],
  ['Firefox', '.config/mozilla/firefox'],
  ['Firefox (snap)', 'snap/firefox/common/.mozilla/firefox'],
  ['Firefox (flatpak)', '.var/app/org.mozilla.firefox/.mozilla/firefox'],
  ['Firefox (flatpak)', '.var/app/org.mozilla.firefox/config/mozilla/firefox'],
  ['Firefox', 'Library/Application Support/Firefox/Profiles'],
] as const
/** Databases. */
const databases = [
  ['Chromium', '.pki/nssdb'],
  ['Chromium', '.local/share/pki/nssdb'],
  ['Chromium (snap)', 'snap/chromium/current/.pki/nssdb'],
] as const

/** The databases in a person's home. Firefox's own root store heeds the system's on other systems by itself. */
export function nssStores(run: Run, home: string): TrustStore[] {
  const profiles = profileFolders.flatMap(([name, folder]) =>
    list(join(home, folder)).map((profile) => ({
      name: `${name}, ${profile}`,
      directory: join(home, folder, profile),
    })),
  )
  const shared = databases.map(([name, directory]) => ({ name, directory: join(home, directory) }))
  return [...profiles, ...shared]
    .filter(({ directory }) => existsSync(join(directory, 'cert9.db')))
    .map(({ name, directory }) => nssStore(run, name, directory))
}

function nssStore(run: Run, name: string, directory: string): TrustStore {
  const database = ['-d', `sql:${directory}`]
  return {
    name,
    has: (root) =>
      // A root that is there and not trusted does not pass for an issuer.
      run('certutil', ['-V', ...database, '-u', 'L', '-n', fileName(root)]).then(
        () => true,
        () => false,
      ),
    async install(root) {
      await run('certutil', ['-A', ...database, '-t', 'C,,', '-n', fileName(root), '-i', root.file])
    },
    async uninstall(root) {
      await run('certutil', ['-D', ...database, '-n', fileName(root)])
    },
  }
}

function list(directory: string): string[] {
  return existsSync(directory)
    ? readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name)
    : []
}
