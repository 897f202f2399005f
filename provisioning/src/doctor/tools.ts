import { findImplementation } from '#wireguard/tools.ts'
import { Problem } from '../problem.ts'
import { failed, ok, type Check } from './check.ts'

export const tools: Check = {
  code: 'wireguard',
  name: 'WireGuard',
  async run() {
    try {
      const found = await findImplementation()
      return ok(found === 'kernel' ? 'in the kernel' : 'wireguard-go, since the kernel has none')
    } catch (error) {
      if (error instanceof Problem) return failed(error.message, error.remedy)
      throw error
    }
  },
}
