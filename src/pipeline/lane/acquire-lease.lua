-- acquire-lease: become the owner of a lane, if nobody else is.
-- KEYS  1 lease, 2 counters, 3 helpers
-- ARGV  1 function, 2 dispatcher, 3 TTL in ms, 4 lane name, 5 the helper's consumer, '' for the owner, 6 'lane' | 'pass' (see src/views/history-pass.ts:
--       while one is not finished it alone gets the lease)
-- reply {1, '<dispatcher>:<epoch>', 1 if the owner before never gave it back, else 0} | {0, ms until the present lease ends}
-- Epochs are the function's, so that a helper that comes again never has an old one.
-- Each acquisition gets a new epoch, also when this dispatcher held the lease before: what it still had in flight is refused.
-- DEL comes first: it works under OOM and makes the rest of the script work there too (consumers are what frees memory).
-- cost  O(1)
local current = redis.call('GET', KEYS[1])
if current then
  local owner = string.match(current, '^(.*):%d+$')
  if owner ~= ARGV[2] then return {0, redis.call('PTTL', KEYS[1])} end
end
local fn, lane = ARGV[1], ARGV[4]
if (redis.call('HEXISTS', KEYS[2], 'pass:' .. fn) == 1) ~= (ARGV[6] == 'pass') then return {0, ARGV[3]} end
redis.call('DEL', KEYS[1])
local epoch = redis.call('HINCRBY', KEYS[2], 'epoch:' .. fn, 1)
local value = ARGV[2] .. ':' .. epoch
redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
local orphaned = redis.call('HEXISTS', KEYS[2], 'open:' .. lane)
redis.call('HSET', KEYS[2], 'open:' .. lane, epoch)
if ARGV[5] ~= '' then redis.call('SADD', KEYS[3], ARGV[5]) end
return {1, value, orphaned}
