/** What the tokens of a budget must come to: all that was answered, and no more than what may have been on its way. */

export interface Spent {
  /** A request goes out that may come to so many tokens; gives what is called with what it took. */
  begin(most: number): (took: number) => void
  /** What is wrong with what the gateway says after a crash. Takes it for what was spent from then on. */
  compare(now: number, quiet: boolean): string[]
  /** What crashes charged in all, beyond what was answered. */
  readonly charged: number
  /** What was answered, in all. */
  readonly answered: number
}

/** Between requests, what the next ones like the last may take is held: `floatRequests` of the gateway's budgets. */
const heldBetween = 16

export function createSpent(): Spent {
  let known = 0
  let charged = 0
  let answered = 0
  let took = 0
  let largest = 0
  let begun = 0
  const open = new Set<{ readonly most: number }>()
  return {
    get charged() {
      return charged
    },
    get answered() {
      return answered
    },
    begin(most) {
      const one = { most }
      open.add(one)
      begun += most
      largest = Math.max(largest, most)
      return (tokens) => {
        open.delete(one)
        took += tokens
      }
    },
    compare(now, quiet) {
      const least = known + took
      const onItsWay = [...open].reduce((sum, { most }) => sum + most, 0)
      // At the pace of the last tenth of a second as much again is held, twice.
      const most = least + onItsWay + Math.max(heldBetween * largest, quiet ? 0 : 2 * begun)
      const wrong: string[] = []
      if (now < least)
        wrong.push(`the budget says that ${now} tokens are spent, and answers came to ${least}`)
      if (now > most)
        wrong.push(`the budget says that ${now} tokens are spent, of at most ${most} that can be`)
      charged += now - least
      answered += took
      known = now
      took = 0
      begun = 0
      open.clear()
      return wrong
    },
  }
}
