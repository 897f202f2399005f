/**
 * Loaded into each gateway of the bench that runs on Node: on SIGUSR2 it writes how many bytes the process keeps,
 * which is what is in memory without what V8 has room for and does not use after its garbage is collected.
 */
import { writeFileSync } from 'node:fs'
import { getHeapSpaceStatistics } from 'node:v8'

process.on('SIGUSR2', () => {
  globalThis.gc?.()
  const unused = getHeapSpaceStatistics().reduce(
    (sum, { physical_space_size: size, space_used_size: used }) => sum + Math.max(0, size - used),
    0,
  )
  const kept = process.memoryUsage.rss() - unused
  writeFileSync(`${process.env.SOTTO_BENCH_MEMORY}/${process.pid}.json`, JSON.stringify({ kept }))
})
