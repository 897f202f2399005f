/**
 * What is counted in Valkey, each in one step that nothing comes between. The first key is that of the gateway
 * that asks, and the first two arguments are its id and its epoch: `stale` is the answer to an epoch that is
 * not its present one, and changes nothing.
 *
 * Of what is open and of budgets each gateway has a field of its own, which it alone changes, and the sum of
 * the fields is what counts. So what each says on its next connection is right whatever was lost meanwhile.
 */

const current = `
local id, epoch = ARGV[1], ARGV[2]
if redis.call('GET', KEYS[1]) ~= epoch then return {'stale'} end
`
/** Of all gateways, and the run of the server in which those were asked for that did not say it themselves. */
const taken = `
local function taken(key)
  local sum = 0
  local all = redis.call('HGETALL', key)
  for at = 1, #all, 2 do
    if all[at] ~= 'run' then sum = sum + tonumber(all[at + 1]) end
  end
  return sum
end
`
/** No number as Lua writes great ones. */
const whole = `
local function whole(number) return string.format('%.0f', number) end
`

export const scripts = {
  /** Takes up an epoch: what the one before had open is free. → nothing */
  announce: `
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'ok'}`,

  /** Still there, and has said what it holds. Keys: what is open by it. → nothing */
  beat: `${current}
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', '{sotto}:said:' .. id, epoch, 'PX', ARGV[3])
for at = 2, #KEYS do redis.call('PEXPIRE', KEYS[at], 86400000) end
return {'ok'}`,

  /** Goes. Keys: what it said of itself. → nothing */
  leave: `${current}
redis.call('DEL', unpack(KEYS))
return {'ok'}`,

  /**
   * Takes a place among what is open, requests and tokens of the minute: of each, or refuses. Requests that are
   * refused count, too. Keys: places, requests, tokens. Arguments: how many of each kind, the tokens, the limits.
   * → `ok`, then of each of the minute what was taken and the milliseconds until it begins anew; or which key
   * refuses, and those milliseconds
   */
  take: `${current}
local places, requests, tokens = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local points = tonumber(ARGV[6])
local function limit(at) return tonumber(ARGV[6 + at]) end
for at = 1, places do
  local key, open, lives = KEYS[at + 1], 0, {}
  local all = redis.call('HGETALL', key)
  for field = 1, #all, 2 do
    local gateway, of = string.match(all[field], '^(%S+) (%S+)$')
    if lives[gateway] == nil then lives[gateway] = redis.call('GET', '{sotto}:gateway:' .. gateway) end
    if lives[gateway] == of then open = open + tonumber(all[field + 1])
    else redis.call('HDEL', key, all[field]) end
  end
  if open >= limit(at) then return {'refused', at, 1000} end
end
local said = {'ok'}
for at = places + 1, places + requests do
  local count = redis.call('INCR', KEYS[at + 1])
  if count == 1 then redis.call('PEXPIRE', KEYS[at + 1], 60000) end
  local left = redis.call('PTTL', KEYS[at + 1])
  if count > limit(at) then return {'refused', at, left} end
  said[#said + 1] = count
  said[#said + 1] = left
end
for at = places + requests + 1, places + requests + tokens do
  local had = tonumber(redis.call('GET', KEYS[at + 1]) or '0')
  if had + points > limit(at) then
    return {'refused', at, math.max(1, redis.call('PTTL', KEYS[at + 1]))}
  end
end
for at = places + requests + 1, places + requests + tokens do
  local count = redis.call('INCRBY', KEYS[at + 1], points)
  if count == points then redis.call('PEXPIRE', KEYS[at + 1], 60000) end
  said[#said + 1] = count
  said[#said + 1] = redis.call('PTTL', KEYS[at + 1])
end
for at = 1, places do
  redis.call('HINCRBY', KEYS[at + 1], id .. ' ' .. epoch, 1)
  redis.call('PEXPIRE', KEYS[at + 1], 86400000)
end
return said`,

  /** Says how many it has open. Keys: places. Arguments: how many of each. → nothing */
  open: `${current}
for at = 2, #KEYS do
  redis.call('HSET', KEYS[at], id .. ' ' .. epoch, ARGV[at + 1])
  redis.call('PEXPIRE', KEYS[at], 86400000)
end
return {'ok'}`,

  /** Gives back tokens of the minute, and places. Keys: tokens, places. Arguments: tokens, how many keys of them. → nothing */
  settle: `${current}
local points, tokens = tonumber(ARGV[3]), tonumber(ARGV[4])
for at = 2, tokens + 1 do
  local had = tonumber(redis.call('GET', KEYS[at]) or '0')
  local left = math.max(0, had - points)
  if redis.call('EXISTS', KEYS[at]) == 1 then redis.call('INCRBY', KEYS[at], left - had) end
end
for at = tokens + 2, #KEYS do
  if redis.call('HINCRBY', KEYS[at], id .. ' ' .. epoch, -1) < 1 then
    redis.call('HDEL', KEYS[at], id .. ' ' .. epoch)
  end
end
return {'ok'}`,

  /**
   * Says what it has of budgets. Keys: budgets. Arguments: of each what it has, `is` or `least`, and the
   * milliseconds for which it is kept. → what it has of each by then
   */
  hold: `${current}${whole}
local said = {}
for at = 2, #KEYS do
  local value, mode, keep = tonumber(ARGV[3 * at - 3]), ARGV[3 * at - 2], ARGV[3 * at - 1]
  local had = tonumber(redis.call('HGET', KEYS[at], id) or '0')
  if mode == 'least' then value = math.max(value, had) end
  redis.call('HSET', KEYS[at], id, whole(value))
  redis.call('PEXPIRE', KEYS[at], keep)
  said[#said + 1] = whole(value)
end
return said`,

  /**
   * Takes of each budget as much as all of them have left, at most what is wanted and at the least what is
   * needed. Keys: budgets. Arguments: at the least, wanted, of each its limit and the milliseconds for which it is
   * kept. → `ok` and what was taken; `short`, which budget has not that much, and what it has left; or `unknown`,
   * and of which budget it is not known what gateways have that are gone
   */
  reserve: `${current}${taken}${whole}
local least, room, tightest = tonumber(ARGV[3]), math.huge, 1
local run = string.match(epoch, '^[^/]+')
for at = 2, #KEYS do
  if redis.call('HGET', KEYS[at], 'run') ~= run then return {'unknown', at - 1} end
  local left = tonumber(ARGV[2 * at + 1]) - taken(KEYS[at])
  if left < room then room, tightest = left, at - 1 end
end
if room < least or room <= 0 then return {'short', tightest, whole(math.max(0, room))} end
local tokens = whole(math.min(tonumber(ARGV[4]), room))
for at = 2, #KEYS do
  redis.call('HINCRBY', KEYS[at], id, tokens)
  redis.call('PEXPIRE', KEYS[at], ARGV[2 * at + 2])
end
return {'ok', tokens}`,

  /**
   * Says what others have of a budget by the database; one that lives has said it itself, and knows better. Keys: the
   * budget. Arguments: ids, each with its tokens. → nothing
   */
  others: `${current}
local run = string.match(epoch, '^[^/]+')
for at = 3, #ARGV, 2 do
  local lives = string.match(redis.call('GET', '{sotto}:said:' .. ARGV[at]) or '', '^[^/]+') == run
  local had = tonumber(redis.call('HGET', KEYS[2], ARGV[at]) or '0')
  if not lives and tonumber(ARGV[at + 1]) > had then redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
end
redis.call('HSET', KEYS[2], 'run', run)
return {'ok'}`,

  /** Gives back what was not used. Keys: budgets. Argument: tokens, fewer than nought where more was used. → nothing */
  return: `${current}
for at = 2, #KEYS do
  if redis.call('HEXISTS', KEYS[at], id) == 1 then redis.call('HINCRBY', KEYS[at], id, -tonumber(ARGV[3])) end
end
return {'ok'}`,

  /**
   * Says something of this gateway to the others, who are asked at the same time. Keys: the ids of all, what this one
   * says. Arguments: what it says, and the milliseconds for which it is true. → what each other one says
   */
  meet: `${current}
redis.call('SADD', KEYS[2], id)
redis.call('PEXPIRE', KEYS[2], 86400000)
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
local others = {}
for _, other in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local said = other ~= id and redis.call('GET', '{sotto}:neighbour:' .. other)
  if said then others[#others + 1] = said
  elseif other ~= id then redis.call('SREM', KEYS[2], other) end
end
return others`,

  /** Keys: budgets. → what all have of each */
  spent: `${current}${taken}${whole}
local said = {}
for at = 2, #KEYS do said[#said + 1] = whole(taken(KEYS[at])) end
return said`,
} as const

export type ScriptName = keyof typeof scripts
