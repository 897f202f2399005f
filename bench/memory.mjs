/**
 * Loaded into each gateway of the bench that runs on Node: on SIGUSR2 it writes how many bytes the process keeps,
 * which is what is in memory without what V8 has room for and does not use after its garbage is collected, and
 * what it has open. Where it is asked for, too: by how much its event loop was late since the last time.
 */
import { writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapSpaceStatistics } from 'node:v8'

/** How often it looks; what the histogram has includes that. */
const resolution = 10
const delay = process.env.SOTTO_BENCH_DELAY ? monitorEventLoopDelay({ resolution }) : undefined
delay?.enable()
/** What V8 compiles and goes on compiling for minutes as it sees what is used: no object of ours. */
const isCode = /code|trusted/

process.on('SIGUSR2', () => {
  const late = delay && { p50: lateness(50), p99: lateness(99), most: delay.max / 1e6 - resolution }
  globalThis.gc?.()
  const spaces = getHeapSpaceStatistics()
  const unused = spaces.reduce(
    (sum, { physical_space_size: size, space_used_size: used }) => sum + Math.max(0, size - used),
    0,
  )
  const used = (is) =>
    spaces
      .filter(({ space_name: name }) => isCode.test(name) === is)
      .reduce((sum, { space_used_size: size }) => sum + size, 0)
  const [heap, code] = [used(false), used(true)]
  const { rss, external } = process.memoryUsage()
  const file = `${process.env.SOTTO_BENCH_MEMORY}/${process.pid}.json`
  const open = process.getActiveResourcesInfo().length
  writeFileSync(file, JSON.stringify({ kept: rss - unused, rss, heap, code, external, open, late }))
  // This look itself held the loop up.
  setTimeout(() => delay?.reset(), 2 * resolution)
})

function lateness(percent) {
  return delay.percentile(percent) / 1e6 - resolution
}
