/**
 * Whether words sound as if their speaker had come to an end: the punctuation that Whisper hears in the voice,
 * and words after which more must follow. Pure; no model, and the longer silence decides where it is unsure.
 */

/** After these a sentence goes on, in the languages that we know; in others punctuation alone decides. */
const goesOn = new Set(
  (
    'a an and at because but for from if into is my of or so than that the then to um uh was which while who with ' +
    'aber auf aus bei da dass dem den der des die ein eine einen für ich ist mein mit oder um und von weil wenn wie zu äh ähm ' +
    'à au aux avec car ce de des donc du en est et euh la le les mais mon ou où par pour que qui si sur un une'
  ).split(' '),
)

export function soundsWhole(transcript: string): boolean {
  // The end alone says it; and what looks for the last word takes the cube of what it looks through.
  const text = transcript.trim().slice(-100)
  if (/(?:…|\.\.\.|[,;:–—-])["'”’)]*$/.test(text)) return false
  const last = /([\p{L}\p{N}'’]+)\P{L}*$/u.exec(text)?.[1]?.toLowerCase()
  if (last === undefined || goesOn.has(last)) return false
  return /[.!?。！？]["'”’)]*$/.test(text)
}
