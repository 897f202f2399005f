import { describe, expect, it } from 'vitest'
import { mayAdministerNetwork } from './tools.ts'

describe('who may make an interface', () => {
  it.each([
    ['root', '000001ffffffffff', true],
    ['a service with CAP_NET_ADMIN alone', '0000000000001000', true],
    ['root of a container without it', '00000000a80425fb', false],
    ['a person', '0000000000000000', false],
  ])('%s', (_who, effective, may) => {
    expect(mayAdministerNetwork(`Name:\tnode\nUid:\t0\t0\t0\t0\nCapEff:\t${effective}\nCapAmb:\t0\n`)).toBe(
      may,
    )
  })
})
