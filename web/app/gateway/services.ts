/** What keys and limits are held to, and requests are counted by, besides the services of the gateway's config. */
export const ownServices = [
  'chat',
  'embeddings',
  'transcription',
  'speech',
  'images',
  'realtime',
  'rooms',
] as const
