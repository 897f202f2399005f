/** The user that the service runs as, and what is theirs. */
import { execa } from 'execa'
import { Problem } from '@sotto/provisioning/problem.ts'
import type { Owner } from '@sotto/provisioning/owner.ts'

/** The system user of that name, made where there is none. */
export async function ensureAccount(name: string): Promise<Owner> {
  const known = await find(name)
  if (known) return known
  const { exitCode, stderr } = await execa(
    'useradd',
    [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/var/lib/sotto',
      '--shell',
      noShell,
      name,
    ],
    { reject: false },
  )
  const made = await find(name)
  if (made) return made
  throw new Problem(
    'service_account',
    `The system user ${name} could not be made: ${stderr.trim() || `useradd ended with ${exitCode}`}.`,
    `Make one by hand, then again: useradd --system --user-group --shell ${noShell} ${name}`,
  )
}

const noShell = '/usr/sbin/nologin'

async function find(name: string): Promise<Owner | undefined> {
  const { stdout } = await execa('getent', ['passwd', name], { reject: false })
  const [, , uid, gid] = (stdout ?? '').split(':')
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) }
}

/** Throws a `Problem` where that user can't start the program, or read one of the files. */
export async function checkReach(
  name: string,
  owner: Owner,
  [node, script]: readonly [string, string],
  reads: readonly string[],
): Promise<void> {
  const options = { ...owner, cwd: '/', reject: false, env: { PATH: process.env.PATH }, extendEnv: false }
  const { exitCode } = await execa(node, [script, '--version'], options)
  if (exitCode !== 0)
    throw new Problem(
      'service_program',
      `The service's user ${name} can't run ${script}: it, its node_modules, or a directory above is not for everybody to read.`,
      'Keep Sotto where everybody may read it, such as /opt/sotto (not below /root), and install from there.',
    )
  for (const file of reads) {
    const { exitCode: unreadable } = await execa('test', ['-r', file], options)
    if (unreadable !== 0)
      throw new Problem(
        'service_reads',
        `The service's user ${name} can't read ${file}.`,
        `Put it into the state directory as config.yaml, or: sudo chgrp ${name} ${file} && sudo chmod g+r ${file}`,
      )
  }
}
