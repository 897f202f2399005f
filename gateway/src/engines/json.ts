/** JSON that others wrote: anything may stand there. */

/** Far above any schema of a tool, and far below where what walks a value, as `JSON.stringify` does, has no stack left. */
const maxDepth = 128

/** Undefined for what is no JSON, or nested too deep to be walked. */
export function parseJson(text: string): unknown {
  try {
    const read: unknown = JSON.parse(text)
    return isDeeper(read, maxDepth) ? undefined : read
  } catch {
    return undefined
  }
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levels === 0) return true
  for (const inner of Object.values(value)) if (isDeeper(inner, levels - 1)) return true
  return false
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
