/** Tells systemd that the gateway serves. Source: sd_notify(3), systemd-notify(1). */
import { execa } from 'execa'

/** Whether systemd started this process and waits for its word. */
export function isSupervised(): boolean {
  return process.env.NOTIFY_SOCKET !== undefined
}

/** By a program of systemd's: its socket takes datagrams, which Node does not send to a path. */
export async function tellReady(status: string): Promise<void> {
  await execa('systemd-notify', ['--ready', `--status=${status}`], { stdin: 'ignore' })
}
