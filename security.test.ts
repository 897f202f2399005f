/** What SECURITY.md says is shown by tests: each line names its own, and these are there. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { certCommand } from '@sotto/certs/commands/cert.ts'
import { adminCommand } from '@sotto/gateway/commands/admin.ts'
import { auditCommand } from '@sotto/gateway/commands/audit.ts'
import { federationCommand } from '@sotto/gateway/commands/federation.ts'
import { keyCommand } from '@sotto/gateway/commands/key.ts'
import { deviceCommand } from '@sotto/provisioning/commands/device.ts'
import { describe, expect, it } from 'vitest'

const text = readFileSync(join(import.meta.dirname, 'SECURITY.md'), 'utf8')
const [claims = '', remedies = ''] = text.split('## After a theft')
const output = { result() {} }
const commands = [
  adminCommand(output),
  auditCommand(output),
  certCommand({ output, directory: () => '' }),
  deviceCommand(output),
  federationCommand(output),
  keyCommand(output),
]
/** `file` “title” */
const named = [...claims.matchAll(/`([\w./-]+\.test\.ts)` “([^”]+)”/g)]

/** Titles as they stand in a file; what differs from case to case is `…`. */
function titlesIn(file: string): readonly string[] {
  const place = join(import.meta.dirname, file)
  if (!existsSync(place)) return []
  return [...readFileSync(place, 'utf8').matchAll(/(['`])((?:\$\{[^}]*\}|(?!\1)[^\n])+)\1/g)].map(
    ([, , title = '']) => title.replaceAll(/\$\{[^}]*\}|%s/g, '…'),
  )
}

describe('SECURITY.md', () => {
  it.each(named.map(([, file = '', title = '']) => [file, title]))(
    'names %s “%s”, which is there',
    (file, title) => {
      expect(titlesIn(file)).toContain(title)
    },
  )

  it('says nothing without a test', () => {
    const lines = claims.split('\n').filter((line) => line.startsWith('- '))
    expect(lines.length).toBeGreaterThan(40)
    for (const line of lines) expect(line).toMatch(/`[\w./-]+\.test\.ts` “[^”]+”$/)
    // And each file that is named is so with a title.
    expect(claims.match(/\.test\.ts`/g)).toHaveLength(named.length + 1)
  })

  it.each([...remedies.matchAll(/^\.\/sotto ([^#\n]+?) *(?:#.*)?$/gm)].map(([, line = '']) => line))(
    'tells to run ./sotto %s, which there is',
    (line) => {
      const [name, ...rest] = line.split(' ')
      const command = commands.find((one) => one.name() === name)
      const part = command?.commands.find((one) => one.name() === rest[0]) ?? command
      if (command && command.commands.length > 0) expect(part).not.toBe(command)
      const known = part?.options.map(({ long }) => long)
      for (const flag of rest.filter((one) => one.startsWith('--'))) expect(known).toContain(flag)
      expect(part).toBeDefined()
    },
  )
})
