-- note-crash: the lane's owner before died, or was cut off. How often has that happened at the same place?
-- KEYS  1 lease, 2 counters, 3.. streams of the function's types
-- ARGV  1 lease value, 2 TTL in ms, 3 function
-- reply {'stale'} | {'ok', how many owners in a row died with the same entries pending, the suspect's mark or ''}
-- PEXPIRE comes first: it works under OOM and makes the rest of the script work there too. cost O(types)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'stale'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local fn = ARGV[3]
local place = ''
for i = 3, #KEYS do
  local first = redis.pcall('XPENDING', KEYS[i], fn, '-', '+', 1)
  if not first.err and first[1] then place = place .. first[1][1] end
  place = place .. ','
end
local times = 1
local before = redis.call('HGET', KEYS[2], 'crash:' .. fn)
if before then
  local count, at = string.match(before, '^(%d+) (.*)$')
  if at == place then times = tonumber(count) + 1 end
end
redis.call('HSET', KEYS[2], 'crash:' .. fn, times .. ' ' .. place)
local suspect = redis.call('HGET', KEYS[2], 'suspect:' .. fn) or ''
return {'ok', times, suspect}
