-- hold-alerts: takes or keeps the lease of the alerts: its owner alone evaluates the rules.
-- KEYS  1 lease, 2 state
-- ARGV  1 owner, 2 TTL in ms, 3 lease value of this owner, or '', 4 '' to take a free lease, or the
--       epoch of the last lease whose successor may be taken
-- reply {server time in ms, 'held' | 'taken' | 'other', lease value, the other's, or '': none}
-- 'taken': the lease is new, and the state may have changed since. The epoch in the value makes
-- each lease another one. The owner's own lease is 'taken' too where the owner does not know its
-- value: the reply that told the value was lost.
-- DEL and PEXPIRE come first: both work under OOM and make the rest of the script work there, too.
-- cost  O(1)
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local current = redis.call('GET', KEYS[1])
if current and current == ARGV[3] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {now, 'held', current}
end
local named = ARGV[1] .. ':'
local isOwn = current and string.sub(current, 1, #named) == named
  and string.find(current, '^%d+$', #named + 1)
if isOwn then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {now, 'taken', current}
end
if current then return {now, 'other', current} end
redis.call('DEL', KEYS[1])
local epoch = redis.call('HGET', KEYS[2], '#epoch')
if ARGV[4] ~= '' and epoch and epoch ~= ARGV[4] then return {now, 'other', ''} end
-- Somebody else has written the field. The server's time is beyond each epoch that there can have
-- been.
if epoch and not (string.find(epoch, '^%d+$') and #epoch < 16) then
  redis.call('HSET', KEYS[2], '#epoch', time[1])
end
local value = ARGV[1] .. ':' .. redis.call('HINCRBY', KEYS[2], '#epoch', 1)
redis.call('SET', KEYS[1], value, 'PX', ARGV[2])
return {now, 'taken', value}
