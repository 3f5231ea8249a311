-- settle-settings: writes the fixed settings of a deployment, or compares them with those of a
-- living process.
--
-- KEYS
-- 1. settings (hash: partitions, created)
--
-- ARGV
-- 1. partitions of the caller
-- 2. creation time of the caller's deployment in ms; '' where the caller has no settings yet
--
-- Returns {partitions, created}: the settings that count now.
--
-- Two deployments may meet under one namespace, where a newcomer was faster after a FLUSHALL. The
-- older one counts. A hash without `created` is older than all hashes with it. Nothing is written
-- where both agree, so that this works while writes are refused.
--
-- Cost: O(1).
local stored = redis.call('HMGET', KEYS[1], 'partitions', 'created')
local partitions, created = stored[1], stored[2] or '0'
if partitions
  and (partitions == ARGV[1] or ARGV[2] == '' or tonumber(ARGV[2]) >= tonumber(created))
then
  return {partitions, created}
end
created = ARGV[2]
if created == '' then
  local time = redis.call('TIME')
  created = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
end
redis.call('HSET', KEYS[1], 'partitions', ARGV[1], 'created', created)
return {ARGV[1], created}
