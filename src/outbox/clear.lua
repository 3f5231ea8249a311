-- clear: takes relayed entries out of an outbox, and returns the size of the rest.
--
-- KEYS
-- 1. outbox (stream)
-- 2. counters
--
-- ARGV
-- 1. then for each entry: its id, its size in bytes
--
-- Returns {entries left, their bytes}.
--
-- Cost: O(entries).
local bytes = 0
for i = 1, #ARGV, 2 do
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then bytes = bytes + tonumber(ARGV[i + 1]) end
end
if bytes > 0 then addTo(KEYS[2], 'outbox', string.format('%.0f', -bytes)) end
local left = redis.call('XLEN', KEYS[1])
if left == 0 then redis.call('HDEL', KEYS[2], 'outbox') end
return {left, countOf(redis.call('HGET', KEYS[2], 'outbox'))}
