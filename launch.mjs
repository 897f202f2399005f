// Runs Sotto with the Node and pnpm that it pins, whatever Node this machine has (20 or later): both come
// from the npm registry, once, into .toolchain. No dependency but Node itself: nothing is installed yet.
//
//   node launch.mjs up …            sotto up …
//   node launch.mjs --pnpm check    pnpm check
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const pinned = { node: '24.21.0', pnpm: '12.21.0' }
const root = import.meta.dirname
const toolchain = join(root, '.toolchain')
const bin = join(toolchain, 'node_modules', '.bin')
const environment = {
  ...process.env,
  PATH: bin + delimiter + process.env.PATH,
  // glibc keeps an arena for each of a dozen threads: two hold as much in some 30 MiB less.
  MALLOC_ARENA_MAX: process.env.MALLOC_ARENA_MAX ?? '2',
  // What Node has compiled once: a command starts in half the time.
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(toolchain, 'compiled'),
}

try {
  await ensure(join(toolchain, 'installed'), JSON.stringify(pinned), 'Node and pnpm', installToolchain)
  await ensure(join(root, 'node_modules', '.sotto-installed'), lockfileDigest(), 'packages', installPackages)
  const [first, ...rest] = process.argv.slice(2)
  process.exitCode =
    first === '--pnpm'
      ? await run('pnpm', ['run', ...rest])
      : await run('node', [join(root, 'sotto.ts'), ...process.argv.slice(2)])
} catch (error) {
  console.error(`\n✘ ${error.message}`)
  process.exitCode = 1
}

/** Does a piece of work where its stamp does not say that it was done for this very text. */
async function ensure(stamp, text, what, work) {
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === text) return
  console.error(`· Installing ${what} (once)…`)
  await work()
  writeFileSync(stamp, text)
}

async function installToolchain() {
  mkdirSync(toolchain, { recursive: true })
  const packages = Object.entries(pinned).map(([name, version]) => `${name}@${version}`)
  const quiet = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error']
  await must('npm', ['install', '--prefix', toolchain, ...quiet, ...packages], process.env)
}

async function installPackages() {
  await must('pnpm', ['install', '--frozen-lockfile'], environment)
}

function lockfileDigest() {
  return createHash('sha256')
    .update(readFileSync(join(root, 'pnpm-lock.yaml')))
    .digest('hex')
}

async function must(command, args, env) {
  // Their output is for the one who waits; our stdout is for results.
  const code = await run(command, args, env, ['ignore', 2, 2])
  if (code !== 0) throw new Error(`\`${command} ${args.join(' ')}\` failed. Is the npm registry reachable?`)
}

function run(command, args, env = environment, stdio = 'inherit') {
  const child = spawn(command, args, { cwd: command === 'node' ? process.cwd() : root, env, stdio })
  // Ctrl-C reaches the child by itself; a `kill` of this process must be handed on.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  return new Promise((settle, fail) => {
    child.once('error', fail)
    child.once('exit', (code, signal) => settle(signal ? 1 : (code ?? 1)))
  })
}
