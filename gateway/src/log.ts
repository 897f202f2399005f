/**
 * The log's file. A disk that takes nothing ends neither the process nor a request: lines wait in memory, within
 * bounds, and what had no room is counted. pino's own destination ends the process there, or never ends it: at
 * the exit it tries again for ever.
 */
import { open } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'

export interface LogFile {
  write(line: string): void
  /** Writes what waits, where the disk takes it, then ends. */
  close(): Promise<void>
}

/** Some thousands of lines. */
const mostBytes = 1024 * 1024
const againAfterMs = 1_000

/** Opens the file to append to it. Throws the system's error. */
export async function openLogFile(path: string): Promise<LogFile> {
  const file = await open(path, 'a', 0o600)
  const stop = new AbortController()
  let waiting: Buffer[] = []
  let bytes = 0
  let lost = 0
  let writing: Promise<void> | undefined

  const take = (line: string): void => {
    const chunk = Buffer.from(line)
    waiting.push(chunk)
    bytes += chunk.length
  }
  /** Whether all of it is written. */
  const writeAll = async (): Promise<boolean> => {
    while (waiting.length > 0) {
      let rest = Buffer.concat(waiting)
      waiting = []
      try {
        while (rest.length > 0) {
          // Of what is cut short by the last free block, the rest is for later.
          const { bytesWritten } = await file.write(rest)
          rest = rest.subarray(bytesWritten)
          bytes -= bytesWritten
        }
      } catch {
        waiting.unshift(rest)
        return false
      }
      if (lost > 0) take(`${JSON.stringify({ level: 40, time: Date.now(), lost, msg: lostLines })}\n`)
      lost = 0
    }
    return true
  }
  const pump = async (): Promise<void> => {
    while (!(await writeAll()) && !stop.signal.aborted)
      await pause(againAfterMs, undefined, { signal: stop.signal, ref: false }).catch(() => {})
    writing = undefined
  }
  return {
    write(line) {
      if (bytes + line.length > mostBytes) {
        lost += 1
        return
      }
      take(line)
      writing ??= pump()
    },
    async close() {
      stop.abort()
      await writing
      await file.close()
    },
  }
}

const lostLines = 'lines of this log were lost, since the disk took none'
