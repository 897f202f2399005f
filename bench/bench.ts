/** `pnpm bench NAME…`: what it costs, beside what it is measured against, in one run. Prints Markdown. */
import { cpus, release } from 'node:os'
import type { Bench } from './report.ts'

const benches: Record<string, () => Promise<Bench>> = {
  overlay: async () => (await import('./overlay.ts')).overlay,
  gateway: async () => (await import('./gateway.ts')).gateway,
  talk: async () => (await import('./talk.ts')).talk,
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in benches))
if (unknown.length > 0) {
  process.stderr.write(
    `There is no bench ${unknown.join(', ')}; there are ${Object.keys(benches).join(', ')}.\n`,
  )
  process.exit(1)
}
const [cpu] = cpus()
process.stdout.write(
  `${cpus().length} × ${cpu?.model ?? 'unknown'}, Linux ${release()}, Node ${process.version}\n`,
)
for (const name of wanted.length > 0 ? wanted : Object.keys(benches)) {
  process.stdout.write(`\n## ${name}\n\n| what | figure | beside | target |\n|---|---|---|---|\n`)
  await (
    await benches[name]?.()
  )?.((row) => {
    process.stdout.write(`| ${row.what} | ${row.figure} | ${row.beside ?? ''} | ${row.target ?? ''} |\n`)
  })
}
