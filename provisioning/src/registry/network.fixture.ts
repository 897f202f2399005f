import { makeKeyPair } from '#overlay/keys.ts'

/** A network as a registry has it: nobody listens on it. */
export const someNetwork = () => ({
  interface: 'test0',
  range4: '10.77.0.0/24',
  range6: 'fd00::/64',
  listenPort: 51820,
  endpoint: null,
  publicKey: makeKeyPair().publicKey,
  gatewayPort: null,
})
