/** The order in which rows cross to the writer. */

/** A row's values, in the order of its columns. */
export type Row = readonly (string | number | null)[]

export const auditColumns = [
  'at',
  'request_id',
  'tenant',
  'person',
  'device_id',
  'device',
  'key_id',
  'key',
  'address',
  'method',
  'path',
  'service',
  'model',
  'backend',
  'status',
  'refusal',
  'input_tokens',
  'output_tokens',
  'counted',
  'queued_ms',
  'first_byte_ms',
  'duration_ms',
  'ended',
] as const

export const promptColumns = [
  'at',
  'request_id',
  'key_id',
  'key',
  'model',
  'request',
  'response',
  'expires_at',
] as const
