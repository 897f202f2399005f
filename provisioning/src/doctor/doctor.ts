/** Runs every check at once; one that breaks is a finding too, and keeps no other from running. */
import { errorText, failed, type Check, type Context, type Diagnosis } from './check.ts'
import { certificates } from './certificates.ts'
import { clock } from './clock.ts'
import { database } from './database.ts'
import { endpoint } from './endpoint.ts'
import { ollama, whisper } from './engines.ts'
import { firewall } from './firewall.ts'
import { forwarding } from './forwarding.ts'
import { gateway, microphone } from './gateway.ts'
import { overlayInterface } from './interface.ts'
import { range } from './range.ts'
import { disk, privacy } from './state.ts'
import { tools } from './tools.ts'

const checks: readonly Check[] = [
  privacy,
  disk,
  database,
  tools,
  overlayInterface,
  range,
  endpoint,
  firewall,
  forwarding,
  certificates,
  clock,
  gateway,
  microphone,
  ollama,
  whisper,
]

/** @param more of other packages, after ours */
export async function diagnose(context: Context, more: readonly Check[] = []): Promise<Diagnosis[]> {
  return Promise.all(
    [...checks, ...more].map(async ({ code, name, run }) => ({
      code,
      name,
      ...(await run(context).catch((error: unknown) => failed(`The check broke: ${errorText(error)}`, ''))),
    })),
  )
}
