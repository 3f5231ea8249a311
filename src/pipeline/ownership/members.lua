-- members: notes that a dispatcher serves a function, or serves it no more. Tells which dispatchers
-- do.
-- KEYS  1 members of the function (zset: dispatcher -> server time in ms until which it counts as
--       one)
-- ARGV  1 dispatcher, 2 TTL in ms, 0 to leave
-- reply the function's dispatchers now, in any order
-- ZREMRANGEBYSCORE comes first: it works under OOM and makes the rest of the script work there too.
-- cost  O(dispatchers)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local ttl = tonumber(ARGV[2])
if ttl > 0 then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ttl), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl * 2))
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
