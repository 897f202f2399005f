/** How a request ended, in a word. */
import type { AuditRow } from '@sotto/gateway/protocol/admin.ts'

export type Outcome = 'answered' | 'cut' | 'left' | 'refused' | 'limited' | 'missing' | 'invalid' | 'failed'

/** Those that the gateway turned away, and those that went wrong, are not told apart by their colour alone. */
export function outcomeOf({ status, ended }: Pick<AuditRow, 'status' | 'ended'>): Outcome {
  if (status === 499) return 'left'
  if (status < 400) return ended === 'cut' ? 'cut' : ended === 'left' ? 'left' : 'answered'
  if (status === 401 || status === 403) return 'refused'
  if (status === 429) return 'limited'
  if (status === 404) return 'missing'
  return status < 500 ? 'invalid' : 'failed'
}
