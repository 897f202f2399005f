import { existsSync } from 'node:fs'
import { stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { failed, ok, warning, type Check } from './check.ts'

/** Below that SQLite and atomic writes begin to fail. */
const fewBytes = 200 * 1024 ** 2

export const privacy: Check = {
  code: 'state_private',
  name: 'State directory',
  async run({ state }) {
    const secret = [
      state.hubKey,
      state.database,
      join(state.certs, 'root.key'),
      join(state.certs, 'intermediate.key'),
    ]
    const open: string[] = []
    for (const file of [state.directory, ...secret.filter((one) => existsSync(one))])
      if (((await stat(file)).mode & 0o077) !== 0) open.push(file)
    if (open.length === 0) return ok(`${state.directory} is for its owner alone`)
    return failed(`Others may read ${open.join(', ')}`, `sudo chmod -R go= ${state.directory}`)
  },
}

export const disk: Check = {
  code: 'disk_space',
  name: 'Disk',
  async run({ state }) {
    const { bavail, bsize } = await statfs(state.directory)
    const mebibytes = Math.floor((bavail * bsize) / 1024 ** 2)
    if (bavail * bsize >= fewBytes) return ok(`${mebibytes} MiB free`)
    return warning(
      `Only ${mebibytes} MiB are free at ${state.directory}`,
      `Free some: df -h ${state.directory}`,
    )
  },
}
