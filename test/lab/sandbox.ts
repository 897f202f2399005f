/**
 * Runs a program as the service's unit has it run, without systemd: as a user of its own, with the unit's
 * capabilities, a system that it can't write to, and of hidden places only what the unit names.
 */
import type { Host } from './lab.ts'

/** No user of any system: nothing may ask for its name. */
export const serviceUser = 64_999

/** The values of a setting, as the unit has them. */
export function settings(unit: string, name: string): string[] {
  return unit
    .split('\n')
    .flatMap((line) => (line.startsWith(`${name}=`) ? [line.slice(name.length + 1)] : []))
}

/**
 * A host whose `start` goes by the unit; the program's process has the id of what is started.
 *
 * @param stage an empty directory, for mounts
 * @param notify socket that stands for systemd's
 */
export function sandboxed(host: Host, unit: string, stage: string, notify: string): Host {
  const shown = settings(unit, 'BindReadOnlyPaths').map((path) => path.replaceAll('"', ''))
  const written = settings(unit, 'ReadWritePaths').filter((path) => !path.startsWith('/proc/'))
  const capabilities = (settings(unit, 'AmbientCapabilities')[0] ?? '')
    .split(' ')
    .filter(Boolean)
    .map((name) => `,+${name.replace('CAP_', '').toLowerCase()}`)
    .join('')
  const script = `set -e
mount --make-rprivate /
${shown
  .map(
    (path, at) => `if [ -d '${path}' ]; then mkdir -p ${stage}/${at}; else touch ${stage}/${at}; fi
mount --bind '${path}' ${stage}/${at}`,
  )
  .join('\n')}
for hidden in /home /root; do mount -t tmpfs -o mode=755 tmpfs $hidden; done
${shown
  .map(
    (
      path,
      at,
    ) => `if [ -d ${stage}/${at} ]; then mkdir -p '${path}'; else mkdir -p "$(dirname '${path}')"; touch '${path}'; fi
mount --bind ${stage}/${at} '${path}'
mount -o remount,bind,ro '${path}'`,
  )
  .join('\n')}
${settings(unit, 'RuntimeDirectory')
  .map(
    (name) => `mkdir -p /run/${name}
mount -t tmpfs -o mode=755,uid=${serviceUser},gid=${serviceUser} tmpfs /run/${name}`,
  )
  .join('\n')}
${written.map((path) => `mount --bind '${path}' '${path}'`).join('\n')}
mount -o remount,bind,ro /
cd /
export NOTIFY_SOCKET=${notify}
exec setpriv --reuid=${serviceUser} --regid=${serviceUser} --clear-groups --no-new-privs \\
  --bounding-set=-all${capabilities} --inh-caps=-all${capabilities} --ambient-caps=-all${capabilities} "$@"`
  return {
    ...host,
    start: (file, args, options) =>
      host.start('unshare', ['--mount', 'sh', '-c', script, 'sh', file, ...args], options),
  }
}
