/** Why a model that was asked for is not there. */
import { Failure } from '../failure.ts'
import { friendOf } from '#protocol/model-name.ts'
import type { ModelPool } from './pool.ts'

export function noSuchModel(model: string): Failure {
  return new Failure('not_found', `model: '${shown(model)}' not found among the models of this gateway.`)
}

/** For a name that the pool does not resolve. */
export function missingModel({ backends, models }: ModelPool, model: string): Failure {
  const friend = friendOf(model)
  const theirs = friend === undefined ? undefined : backends.find((one) => one.friend === friend)
  if (theirs?.status === 'down')
    return new Failure('unavailable', theirs.problem ?? '', undefined, { retryAfter: 5 })
  if (theirs)
    return new Failure(
      'not_found',
      `model: ${friend} shares no “${shown(model)}” with this gateway. Ask ${friend} to grant it there: ./sotto federation grant`,
    )
  // Who names none means one of the house.
  if (model === '' && models.length > 0)
    return new Failure('unavailable', 'No engine of this gateway’s own has a model now: name a friend’s.')
  return models.length === 0
    ? new Failure('unavailable', 'No engine is connected to this gateway now.', undefined, { retryAfter: 5 })
    : noSuchModel(model)
}

function shown(model: string): string {
  return model.slice(0, 256)
}
