-- save-alerts: writes changes of the alerts' state, if the writer still has the lease. Gives the
-- lease back, where it is asked to.
-- KEYS  1 lease, 2 state
-- ARGV  1 lease value, 2 TTL in ms, 0 to give the lease back, 3 number of fields to delete,
--       4.. these fields, then pairs of field and value to write
-- reply 1 | 0 (another process has the lease) | -1 (the lease has ended). 0 and -1: nothing was
-- written.
-- PEXPIRE comes first: it works under OOM and makes the rest of the script work there, too.
-- cost  O(fields)
local current = redis.call('GET', KEYS[1])
if not current then
  -- A lease ends while Redis refuses writes. This write tells a refusal from a lease that was lost.
  redis.call('DEL', KEYS[1])
  return -1
end
if current ~= ARGV[1] then return 0 end
local ttl, deleted = tonumber(ARGV[2]), tonumber(ARGV[3])
if ttl > 0 then redis.call('PEXPIRE', KEYS[1], ttl) else redis.call('DEL', KEYS[1]) end
for i = 4, 3 + deleted do redis.call('HDEL', KEYS[2], ARGV[i]) end
for i = 4 + deleted, #ARGV - 1, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
