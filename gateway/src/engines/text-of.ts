/** Far above any list of models, and any transcript of a recording that we take. */
const defaultMaxBytes = 16 * 1024 * 1024

/** The text of a body, of which no more is read than there should be: what is cut is no JSON any more. */
export async function textOf(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number = defaultMaxBytes,
): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxBytes) break
  }
  return Buffer.concat(chunks).toString('utf8', 0, maxBytes)
}
