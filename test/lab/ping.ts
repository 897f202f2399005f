/** Twenty packets a second from one host to another, and which were lost. */
import type { Host } from './lab.ts'

export interface Ping {
  stop(): Promise<{ readonly sent: number; readonly lost: readonly number[] }>
}

export function startPing(from: Host, to: string): Ping {
  const child = from.start('ping', ['-i', '0.05', '-W', '2', to])
  return {
    async stop() {
      child.kill('SIGINT')
      const { stdout } = await child
      const answered = [...String(stdout).matchAll(/icmp_seq=(\d+) /g)].map(([, number]) => Number(number))
      // What was sent after the last answer may still be on its way.
      const sent = Math.max(...answered, 0)
      const lost = Array.from({ length: sent }, (_, at) => at + 1).filter(
        (number) => !answered.includes(number),
      )
      return { sent, lost }
    },
  }
}
