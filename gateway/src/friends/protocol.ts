/** What both ends know before they are friends' tunnels. */

/** Beside the relay's own path, at the listener that a friend reaches. */
export const friendPath = '/friend'

/**
 * Of who dials: two tunnels make a friendship, since in each one side alone asks. Both are dialled by the one that
 * joined, as the other one can't reach it.
 */
export const roles = ['asks', 'answers'] as const
export type Role = (typeof roles)[number]

export function readRole(text: string | null): Role | undefined {
  return roles.find((role) => role === text)
}

/** Requests that one side has open at the other: its own people wait for each other, and nothing is held for more. */
export const mostAtOnce = 64
