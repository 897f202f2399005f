/** What a machine is, for those who decide what to run there. What can't be learnt is left out. */
import { arch, cpus, platform, release, totalmem } from 'node:os'
import { execa } from 'execa'
import { z } from 'zod'
import { parseJson } from '#engines/json.ts'
import type { Hardware } from './offer.ts'

/** A driver that hangs must not hold up the lending. */
const timeout = 5_000

export async function readHardware(): Promise<Hardware> {
  const processors = cpus()
  return {
    system: `${systems[platform()] ?? platform()} ${release()} ${arch()}`.slice(0, 200),
    cpu: { model: (processors[0]?.model ?? 'unknown').trim().slice(0, 200), cores: processors.length },
    memoryBytes: totalmem(),
    gpus: (platform() === 'darwin'
      ? await appleGpus()
      : [...(await nvidiaGpus()), ...(await amdGpus())]
    ).slice(0, 32),
  }
}

const systems: Readonly<Record<string, string>> = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' }

type Gpus = Hardware['gpus']

async function said(file: string, args: readonly string[]): Promise<string> {
  const { stdout, exitCode } = await execa(file, args, { reject: false, timeout, stdin: 'ignore' })
  return exitCode === 0 ? (stdout ?? '') : ''
}

async function nvidiaGpus(): Promise<Gpus> {
  return parseNvidia(
    await said('nvidia-smi', ['--query-gpu=name,memory.total', '--format=csv,noheader,nounits']),
  )
}

/** A line a GPU, its memory in MiB: `NVIDIA GeForce RTX 4090, 24564` */
export function parseNvidia(text: string): Gpus {
  return text.split('\n').flatMap((line) => {
    const [, name, mebibytes] = /^(.+), *(\d+)\s*$/.exec(line) ?? []
    return name === undefined
      ? []
      : [{ name: name.slice(0, 200), memoryBytes: known(Number(mebibytes) * 2 ** 20) }]
  })
}

async function amdGpus(): Promise<Gpus> {
  return parseRocm(await said('rocm-smi', ['--showproductname', '--showmeminfo', 'vram', '--json']))
}

const cards = z.record(z.string(), z.record(z.string(), z.string()))

/** `{"card0": {"Card Series": "…", "VRAM Total Memory (B)": "…"}}`, its names in either case by version. */
export function parseRocm(text: string): Gpus {
  const read = cards.safeParse(parseJson(text))
  if (!read.success) return []
  return Object.entries(read.data).flatMap(([card, facts]) => {
    if (!card.startsWith('card')) return []
    const fact = (name: string) =>
      Object.entries(facts).find(([one]) => one.toLowerCase() === name.toLowerCase())?.[1]
    const bytes = Number(fact('VRAM Total Memory (B)'))
    return [
      {
        name: (fact('Card Series') ?? fact('Device Name') ?? 'AMD GPU').slice(0, 200),
        memoryBytes: known(bytes),
      },
    ]
  })
}

const displays = z.object({
  SPDisplaysDataType: z.array(z.looseObject({ sppci_model: z.string().optional() })),
})

async function appleGpus(): Promise<Gpus> {
  return parseApple(await said('system_profiler', ['SPDisplaysDataType', '-json']))
}

/** Apple's chips share the machine's memory. */
export function parseApple(text: string): Gpus {
  const read = displays.safeParse(parseJson(text))
  if (!read.success) return []
  return read.data.SPDisplaysDataType.flatMap(({ sppci_model: name }) =>
    name === undefined ? [] : [{ name: name.slice(0, 200), memoryBytes: null }],
  )
}

/** A gateway takes no other: it would refuse all that is lent for it. */
function known(bytes: number): number | null {
  return Number.isFinite(bytes) && bytes >= 0 ? bytes : null
}
