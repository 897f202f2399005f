import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { installService, uninstallService } from '#daemon/plan.ts'
import { planService, type ServiceWish } from './install.ts'

const wish: ServiceWish = {
  name: 'rig',
  program: ['/opt/so tto/node', '/opt/so tto/sotto.ts'],
  options: [
    '--to',
    'https://10.77.0.1:8443',
    '--name',
    'rig',
    '--service',
    'tts=http://127.0.0.1:5002/a%b$c',
  ],
  key: 'sk-sotto-secret',
  system: 'linux',
  root: true,
  home: '/home/ada',
}

describe('the service that lends', () => {
  it('is a unit of systemd, with the key in a file of its own', () => {
    const { files, start } = planService(wish)
    const [key, unit] = files
    expect(key).toEqual({ path: '/etc/sotto/lend-rig.key', text: 'sk-sotto-secret\n', mode: 0o600 })
    expect(unit?.path).toBe('/etc/systemd/system/sotto-lend-rig.service')
    expect(unit?.text).toContain(
      'ExecStart="/opt/so tto/node" "/opt/so tto/sotto.ts" lend --to https://10.77.0.1:8443 --name rig ' +
        '--service "tts=http://127.0.0.1:5002/a%%b$$c" --key-file /etc/sotto/lend-rig.key\n',
    )
    expect(unit?.text).not.toContain(wish.key)
    expect(start).toContainEqual(['systemctl', 'enable', 'sotto-lend-rig.service'])
  })

  it('is the person’s own where root is not', () => {
    const { files, start } = planService({ ...wish, root: false })
    expect(files.map(({ path }) => path)).toEqual([
      '/home/ada/.config/sotto/lend-rig.key',
      '/home/ada/.config/systemd/user/sotto-lend-rig.service',
    ])
    expect(start).toContainEqual(['systemctl', '--user', 'daemon-reload'])
  })

  it('is an agent of launchd', () => {
    const { files } = planService({ ...wish, system: 'darwin', options: ['--to', 'https://a/?x=1&y=2'] })
    expect(files[1]?.text).toContain('<string>https://a/?x=1&amp;y=2</string>')
    expect(files[1]?.text).not.toContain(wish.key)
  })

  it('is a task of Windows that the person makes', () => {
    const { byHand, files, start } = planService({ ...wish, system: 'win32' })
    expect(byHand).toContain('schtasks /Create /TN "Sotto lend rig" /SC ONLOGON')
    expect(byHand).not.toContain(wish.key)
    expect([files.length, start]).toEqual([1, []])
  })

  it('is written so that nobody else reads the key, and leaves nothing behind', async () => {
    const home = await mkdtemp(join(tmpdir(), 'sotto-install-'))
    const plan = { ...planService({ ...wish, root: false, home }), start: [], stop: [['false']] }
    expect(await installService(plan)).toEqual([])
    const path = join(home, '.config/sotto/lend-rig.key')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await readFile(path, 'utf8')).toBe('sk-sotto-secret\n')
    expect(await uninstallService(plan)).toEqual(['false: it failed'])
    await expect(stat(path)).rejects.toThrow('ENOENT')
    await rm(home, { recursive: true })
  })
})
