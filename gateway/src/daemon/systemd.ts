/** What every unit of ours says to systemd in the same way. */

/** A command line. Source: systemd.service(5), “Command lines”: C-style quotes, `%` and `$` doubled. */
export function commandLine(parts: readonly string[]): string {
  return parts.map(quoted).join(' ')
}

/** A path as settings such as `ReadWritePaths=` take it. Source: systemd.exec(5), systemd.unit(5), “Specifiers”. */
export function unitPath(path: string): string {
  const safe = path.replaceAll('%', '%%')
  return /^[\w./@%,=+-]+$/.test(safe) ? safe : `"${safe.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

function quoted(part: string): string {
  const safe = part.replaceAll('%', '%%').replaceAll('$', '$$$$')
  return /^[\w./:@%,=*-]+$/.test(safe) ? safe : `"${safe.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/** To start what a unit says, and go on doing so when the machine starts; one that runs takes up what changed. */
export function startUnit(control: readonly string[], unit: string): string[][] {
  return [
    [...control, 'daemon-reload'],
    [...control, 'enable', unit],
    [...control, 'restart', unit],
  ]
}

export function stopUnit(control: readonly string[], unit: string): string[][] {
  return [
    [...control, 'disable', '--now', unit],
    [...control, 'daemon-reload'],
  ]
}
