import { expect, it } from 'vitest'
import { namedApart } from './named-apart.ts'
import { createMesh } from './gateways.fixture.ts'

it('gateways that call themselves the same, or what nobody can read, are told apart', () => {
  const federation = createMesh().join('home')
  const peer = (meshId: string, name: string) => ({ meshId, name, connected: true, rooms: [] })
  const peers = [
    peer('11111111-friend', 'berlin'),
    peer('22222222-stranger', 'Berlin'),
    peer('33333333', 'a\u202Eb'),
    peer('44444444', 'x'.repeat(200)),
    peer('55555555', 'paris'),
  ]
  expect(namedApart({ ...federation, peers }).peers.map(({ name }) => name)).toEqual([
    'berlin~11111111',
    'Berlin~22222222',
    '33333333',
    '44444444',
    'paris',
  ])
})
