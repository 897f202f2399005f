import type { Spending } from '#ledger/ledger.ts'

/** What is reserved within so long says how much the next so long will want. */
export const paceMs = 100
const landed = Promise.resolve()

/** A budget in a window. The ledger writes what it is when it writes. */
export class Account implements Spending {
  readonly subject: string
  readonly window: string
  used: number
  /** What other gateways spent of it until this one started; where they count together, others are asked. */
  others = 0
  /** Of requests that are on their way. */
  reserved = 0
  /** Of these, what was not yet taken from what all gateways share. */
  asked = 0
  /** What is on disk at the least, as used and held together. */
  durable: number
  /** What the next write says. */
  written: number
  /** Writes on their way that raise it, with what they say at the least. */
  readonly rising = new Set<{ total: number }>()
  landing: Promise<void> = landed
  /** Reserved in this and in the last tenth of a second: at that pace more is held, so that not each waits. */
  recent = 0
  before = 0
  since = 0
  /** Stays held between requests, so that the next one like the last does not wait for the disk. */
  float = 0

  constructor(subject: string, window: string, used = 0) {
    this.subject = subject
    this.window = window
    this.used = used
    this.durable = used
    this.written = used
  }

  get taken(): number {
    return this.used + this.reserved
  }

  /** What it has of the budget that all gateways share. */
  get granted(): number {
    return this.taken - this.asked
  }

  get held(): number {
    return this.written - this.used
  }

  /** What is held beyond what is taken: enough for the pace of now, and for the next few at any. */
  get slack(): number {
    return Math.max(this.float, 2 * this.before)
  }

  lower(to: number): void {
    this.written = Math.min(this.written, to)
    this.durable = Math.min(this.durable, to)
    for (const write of this.rising) write.total = Math.min(write.total, to)
  }

  pace(tokens: number, now: number): void {
    if (now - this.since >= paceMs) {
      this.before = now - this.since < 2 * paceMs ? this.recent : 0
      this.recent = 0
      this.since = now
    }
    this.recent += tokens
  }
}
