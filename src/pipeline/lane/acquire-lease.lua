-- acquire-lease: become the owner of a lane, if nobody else is.
-- KEYS  1 lease, 2 counters
-- ARGV  1 function, 2 dispatcher, 3 TTL in ms
-- reply {1, '<dispatcher>:<epoch>'} | {0, ms until the present lease ends}
-- Each acquisition gets a new epoch, also when this dispatcher held the lease before: what it still had in flight is refused.
-- cost  O(1)
local current = redis.call('GET', KEYS[1])
if current then
  local owner = string.match(current, '^(.*):%d+$')
  if owner ~= ARGV[2] then return {0, redis.call('PTTL', KEYS[1])} end
end
local value = ARGV[2] .. ':' .. redis.call('HINCRBY', KEYS[2], 'epoch:' .. ARGV[1], 1)
redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
return {1, value}
