/** Who talks in the tests of a session: somebody whom nothing holds back. */
import type { SessionDeps } from './session.ts'

export const nobodySpecial: Pick<SessionDeps, 'caller' | 'address' | 'admission' | 'recorder'> = {
  caller: {
    kind: 'device',
    name: 'phone',
    tenant: { id: 'home', name: 'home', disabledAt: null },
    admin: false,
    held: [],
  },
  address: '10.77.0.2',
  admission: { admit: async () => ({ headers: {}, output: undefined, settle() {} }), mayUse: () => true },
  recorder: {
    ledger: { record() {}, keepPrompt() {} },
    metrics: { observe() {}, talked() {} },
    opened: () => () => {},
  },
}
