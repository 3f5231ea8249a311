-- acquire-lease: makes a dispatcher the owner of a lane, if no other one is.
-- KEYS  1 lease, 2 counters, 3 helpers
-- ARGV  1 function, 2 dispatcher, 3 TTL in ms, 4 lane name, 5 the helper's consumer,
--       '' for the owner, 6 'lane' | 'pass'
--       (src/views/history-pass.ts: only a pass gets the lease while it is not finished)
-- reply {1, '<dispatcher>:<epoch>'} | {0, ms until the present lease ends}
-- An earlier owner that never gave the lease back, and is another dispatcher, is presumed dead
-- until it says that it lives (not-dead.lua). `presumed` names it, and note-crash.lua counts it.
-- This dispatcher itself lives: it lost its lease, and comes again.
-- Epochs are counted per function, so that a helper that comes again never has an old one.
-- Each acquisition gets a new epoch. Where this dispatcher held the lease before, its commits still
-- in flight are refused.
-- DEL comes first: it works under OOM and makes the rest of the script work there too (consumers
-- free memory).
-- cost  O(1)
local current = redis.call('GET', KEYS[1])
if current then
  local owner = string.match(current, '^(.*):%d+$')
  if owner ~= ARGV[2] then return {0, redis.call('PTTL', KEYS[1])} end
end
local fn, lane = ARGV[1], ARGV[4]
if (redis.call('HEXISTS', KEYS[2], 'pass:' .. fn) == 1) ~= (ARGV[6] == 'pass') then
  return {0, ARGV[3]}
end
redis.call('DEL', KEYS[1])
local counted = redis.call('HGET', KEYS[2], 'epoch:' .. fn)
-- Somebody else has written the field. The server's time is beyond each epoch that there can have
-- been.
if counted and not (string.find(counted, '^%d+$') and #counted < 16) then
  redis.call('HSET', KEYS[2], 'epoch:' .. fn, redis.call('TIME')[1])
end
local epoch = redis.call('HINCRBY', KEYS[2], 'epoch:' .. fn, 1)
local value = ARGV[2] .. ':' .. epoch
redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
local open = redis.call('HEXISTS', KEYS[2], 'open:' .. lane) == 1
local before = open and redis.call('HGET', KEYS[2], 'opener:' .. lane)
redis.call('HSET', KEYS[2], 'open:' .. lane, epoch, 'opener:' .. lane, value)
if before and string.match(before, '^(.*):%d+$') ~= ARGV[2] then
  local presumed = {}
  for one in string.gmatch(redis.call('HGET', KEYS[2], 'presumed:' .. lane) or '', '%S+') do
    presumed[#presumed + 1] = one
  end
  presumed[#presumed + 1] = before
  redis.call(
    'HSET', KEYS[2], 'presumed:' .. lane, table.concat(presumed, ' ', math.max(1, #presumed - 15))
  )
end
if ARGV[5] ~= '' then redis.call('SADD', KEYS[3], ARGV[5]) end
return {1, value}
