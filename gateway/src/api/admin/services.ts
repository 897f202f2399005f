/** The engines and services: how they are, and what they have in memory. */
import type { EngineView } from '#engines/engine.ts'
import type { Images } from '#engines/images.ts'
import type { Speech } from '#engines/speech.ts'
import type { ServiceList, ServiceStatus } from '#protocol/admin.ts'
import type { Route } from '../route.ts'
import type { Service } from '../services.ts'
import { reading } from './reading.ts'

export interface ServicesDeps {
  readonly engines: EngineView
  readonly speech: Pick<Speech, 'kind'> | undefined
  readonly images: Pick<Images, 'kind'> | undefined
  readonly services: readonly Pick<Service, 'name'>[]
  readonly aliases: Readonly<Record<string, string>>
}

export function servicesRoutes(deps: ServicesDeps): Route[] {
  return [
    reading('/sotto/admin/services', 'How the engines and services are', async () => listServices(deps)),
  ]
}

/** No address of any of them: problems are told in words. */
function listServices({ engines, speech, images, services, aliases }: ServicesDeps): ServiceList {
  return {
    backends: engines.pool.backends.map(({ status, friend = null, problem = null, ...backend }) => ({
      ...backend,
      friend,
      up: status === 'up',
      problem,
    })),
    services: [
      transcription(engines),
      speech ? unasked('speech', speech.kind) : noSpeech,
      images ? unasked('images', images.kind) : noImages,
      ...services.map(({ name }) => unasked('service', name)),
    ],
    aliases,
  }
}

function transcription({ states }: EngineView): ServiceStatus {
  const { kind, ready, models, problem = null, remedy = null } = states.transcription
  return {
    role: 'transcription',
    name: kind,
    up: ready && kind !== 'demo',
    problem,
    remedy,
    models,
  }
}

/** It is there; how it is shows when somebody uses it. */
function unasked(role: ServiceStatus['role'], name: string): ServiceStatus {
  return { role, name, up: null, problem: null, remedy: null, models: [] }
}

const noSpeech: ServiceStatus = {
  role: 'speech',
  name: 'none',
  up: false,
  problem: 'No voice is configured, and this machine has no espeak-ng.',
  remedy: 'apt-get install espeak-ng, or write “speech: { engine: sherpa }” in config.yaml; then start anew.',
  models: [],
}

const noImages: ServiceStatus = {
  role: 'images',
  name: 'none',
  up: null,
  problem: 'Nothing that draws is configured.',
  remedy: 'Write “images: { engine: automatic1111, url: … }” in config.yaml, then start anew.',
  models: [],
}
