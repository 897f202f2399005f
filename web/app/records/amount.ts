/**
 * A whole number as people write it, thousands apart or not; null for nothing, undefined for anything else. A
 * single separator is taken only where three digits follow it: “1.5” is no fifteen.
 */
export function readAmount(text: string): number | null | undefined {
  const written = text.trim()
  if (written === '') return null
  if (!/^(?:\d+|\d{1,3}(?:[.,'’_\s]\d{3})+)$/.test(written)) return undefined
  const amount = Number(written.replaceAll(/\D/g, ''))
  return Number.isSafeInteger(amount) ? amount : undefined
}
