-- settle-settings: writes down what a deployment is fixed to, or compares it with what a living process works with.
-- KEYS  1 settings (hash: partitions, created)
-- ARGV  1 partitions of the caller, 2 when its deployment was created (ms; '' where the caller has no settings yet)
-- reply {partitions, created}: what counts now
-- Two deployments under one namespace (FLUSHALL, and a newcomer was faster): the older one counts. A hash without `created`
-- is older than all that have it. Nothing is written where both say the same, so that it works while writes are refused.
-- cost  O(1)
local stored = redis.call('HMGET', KEYS[1], 'partitions', 'created')
local partitions, created = stored[1], stored[2] or '0'
if partitions and (partitions == ARGV[1] or ARGV[2] == '' or tonumber(ARGV[2]) >= tonumber(created)) then return {partitions, created} end
created = ARGV[2]
if created == '' then
  local time = redis.call('TIME')
  created = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
end
redis.call('HSET', KEYS[1], 'partitions', ARGV[1], 'created', created)
return {ARGV[1], created}
