import { AuthorityError } from '@sotto/certs/authority-error.ts'
import { loadAuthority } from '@sotto/certs/authority.ts'
import { expiryWarnings } from '@sotto/certs/expiry.ts'
import { namesOf, readLeaf } from '@sotto/certs/leaf.ts'
import { hubAddresses } from '#overlay/addresses.ts'
import { failed, ok, warning, type Check } from './check.ts'

export const certificates: Check = {
  code: 'certificates',
  name: 'Certificates',
  async run({ network, now, state }) {
    try {
      const authority = await loadAuthority(state.certs, { now })
      const leaf = await readLeaf(state.certs)
      if (!leaf || leaf.notAfter <= now)
        return warning('There is no leaf in date: the gateway issues one when it starts', 'sudo npm start')
      const names = new Set(namesOf(leaf.cert))
      const missing = Object.values(hubAddresses(network)).filter((address) => !names.has(address))
      if (missing.length > 0)
        return failed(
          `The leaf does not speak for ${missing.join(', ')}`,
          'Start the gateway again: it issues another one',
        )
      const [first, ...more] = expiryWarnings(authority, leaf, now)
      if (first)
        return warning(
          [first, ...more].map(({ what, daysLeft }) => `The ${what} ends in ${daysLeft} days`).join('; '),
          first.remedy,
        )
      return ok(
        `root until ${authority.rootNotAfter.toISOString().slice(0, 10)}, leaf until ${leaf.notAfter.toISOString().slice(0, 10)}`,
      )
    } catch (error) {
      if (error instanceof AuthorityError) return failed(error.message, error.remedy)
      throw error
    }
  },
}
