/** What both ends of a tunnel know before the first frame. */
export const tunnelPath = '/tunnel'

/** Close codes of our own (RFC 6455 §7.4.2), by which the lender knows what to do next. */
export const closeCodes = {
  /** A newer connection has its name. */
  replaced: 4_001,
  /** Its key may lend no more. */
  notAllowed: 4_003,
  /** It said nothing that is an offer. */
  badOffer: 4_004,
} as const
