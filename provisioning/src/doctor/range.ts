import { checkRoutes } from '../network.ts'
import { Problem } from '../problem.ts'
import { failed, ok, type Check } from './check.ts'

export const range: Check = {
  code: 'range',
  name: 'Range',
  async run({ network }) {
    try {
      await checkRoutes(network.range4, [network.interface])
      return ok(`${network.range4} is on top of no other network here`)
    } catch (error) {
      if (error instanceof Problem) return failed(error.message, error.remedy)
      throw error
    }
  },
}
