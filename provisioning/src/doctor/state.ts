import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { diskProblem, lookAtDisk } from '../disk.ts'
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
    const { freeBytes, fault } = await lookAtDisk(state.directory)
    if (fault) {
      const { message, remedy } = diskProblem(state.directory, fault)
      return failed(message, remedy)
    }
    const mebibytes = Math.floor(freeBytes / 1024 ** 2)
    if (freeBytes >= fewBytes) return ok(`${mebibytes} MiB free`)
    return warning(
      `Only ${mebibytes} MiB are free at ${state.directory}`,
      `Free some: df -h ${state.directory}`,
    )
  },
}
