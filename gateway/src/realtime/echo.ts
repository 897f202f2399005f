/** Whether words that came from the microphone are our own, out of the loudspeaker. Pure. */

/** Of the words, this many are in what was being said: a microphone that hears us gets some of them wrong. */
const echoShare = 0.7

export function isEcho(words: string, saying: string): boolean {
  const heard = wordsOf(words)
  const said = new Set(wordsOf(saying))
  return heard.filter((word) => said.has(word)).length >= heard.length * echoShare
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
}
