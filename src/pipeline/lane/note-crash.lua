-- note-crash: the lane's owner before died, or was cut off. How often has that happened at the same place?
-- KEYS  1 lease, 2 counters, 3.. streams of the function's types
-- ARGV  1 lease value, 2 TTL in ms, 3 function, 4 lane name, 5 consumer
-- reply {'stale'} | {'ok', how many owners in a row died with the same entries pending, the suspect's mark or ''}
-- PEXPIRE comes first: it works under OOM and makes the rest of the script work there too. cost O(types)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'stale'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local lane = ARGV[4]
local place = ''
for i = 3, #KEYS do
  local first = redis.pcall('XPENDING', KEYS[i], ARGV[3], '-', '+', 1, ARGV[5])
  if not first.err and first[1] then place = place .. first[1][1] end
  place = place .. ','
end
local times = 1
local before = redis.call('HGET', KEYS[2], 'crash:' .. lane)
if before then
  local count, at = string.match(before, '^(%d+) (.*)$')
  if at == place then times = tonumber(count) + 1 end
end
redis.call('HSET', KEYS[2], 'crash:' .. lane, times .. ' ' .. place)
local suspect = redis.call('HGET', KEYS[2], 'suspect:' .. lane) or ''
return {'ok', times, suspect}
