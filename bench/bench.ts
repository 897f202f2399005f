/**
 * `pnpm bench NAME…`: what it costs, beside what it is measured against, in one run. Prints Markdown, and writes it
 * with charts to `bench-output/report.md`. Without a name all of them run, one after another.
 */
import { cpus, release } from 'node:os'
import { join } from 'node:path'
import { heading, line, writeReport, type Bench, type Row } from './report.ts'

const benches: Record<string, () => Promise<Bench>> = {
  overlay: async () => (await import('./overlay.ts')).overlay,
  gateway: async () => (await import('./gateway.ts')).gateway,
  talk: async () => (await import('./talk.ts')).talk,
  reach: async () => (await import('./reach.ts')).reach,
  relay: async () => (await import('./relay.ts')).relay,
  scale: async () => (await import('./scale.ts')).scale,
  web: async () => (await import('./web.ts')).web,
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
const machine = `${cpus().length} × ${cpu?.model ?? 'unknown'}, Linux ${release()}, Node ${process.version}`
process.stdout.write(`${machine}\n`)
const reported = new Map<string, Row[]>()
for (const name of wanted.length > 0 ? wanted : Object.keys(benches)) {
  const rows: Row[] = []
  reported.set(name, rows)
  process.stdout.write(heading(name))
  const report = (row: Row): void => {
    rows.push(row)
    process.stdout.write(line(row))
  }
  const before = { ...process.env }
  try {
    await (
      await benches[name]?.()
    )?.(report)
  } catch (error) {
    report({ what: 'it broke off', figure: error instanceof Error ? error.message : String(error) })
    process.exitCode = 1
  } finally {
    // What one bench has its programs started with is no other's.
    for (const key of Object.keys(process.env)) if (!(key in before)) delete process.env[key]
    Object.assign(process.env, before)
  }
}
const path = await writeReport(join(import.meta.dirname, '..', 'bench-output'), machine, reported)
process.stderr.write(`\n${path}\n`)
