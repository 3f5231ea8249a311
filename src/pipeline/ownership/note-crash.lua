-- note-crash: counts the owners in a row that are presumed dead at the same place: with the same
-- entries pending.
-- KEYS  1 lease, 2 counters, 3.. streams of the function's types
-- ARGV  1 lease value, 2 TTL in ms, 3 function, 4 lane name, 5 consumer
-- reply {'stale'} |
--       {'ok', number of owners in a row that died at this place, the suspect's mark or ''}
-- Owners that are presumed dead are in `presumed`. A counted one bears a '!' there. Nothing has run
-- since the others died: a lane runs nothing before this script has counted. An owner that has said
-- meanwhile that it lives (not-dead.lua) is not counted.
-- cost O(types)
if not holdsLease(KEYS[1], KEYS[2], ARGV[4], ARGV[1], ARGV[2]) then return {'stale'} end
local lane = ARGV[4]
local place = ''
for i = 3, #KEYS do
  local first = redis.pcall('XPENDING', KEYS[i], ARGV[3], '-', '+', 1, ARGV[5])
  if not first.err and first[1] then place = place .. first[1][1] end
  place = place .. ','
end
-- Slow events ran beside the turns. Their entries are acknowledged, so they are added.
local ran = ARGV[5] == 'lane' and redis.call('HGET', KEYS[2], 'running:' .. ARGV[3])
if ran then
  local read, running = pcall(cjson.decode, ran)
  local lowest
  for _, one in ipairs(read and type(running) == 'table' and running.units or {}) do
    if not lowest or tostring(one[1]) < lowest then lowest = tostring(one[1]) end
  end
  if lowest then place = place .. lowest end
end
local times = 0
local before = redis.call('HGET', KEYS[2], 'crash:' .. lane)
if before then
  local count, at = string.match(before, '^(%d+) (.*)$')
  if at == place then times = tonumber(count) end
end
local presumed, counted = {}, 0
for one in string.gmatch(redis.call('HGET', KEYS[2], 'presumed:' .. lane) or '', '%S+') do
  if string.sub(one, -1) ~= '!' then
    counted = counted + 1
    presumed[#presumed + 1] = one .. '!'
  elseif times > 0 then
    -- Else (times is 0) these owners died at another place, and count no more.
    presumed[#presumed + 1] = one
  end
end
if counted > 0 then
  times = times + counted
  redis.call(
    'HSET', KEYS[2], 'crash:' .. lane, times .. ' ' .. place, 'presumed:' .. lane,
    table.concat(presumed, ' ')
  )
end
redis.call('HDEL', KEYS[2], 'lives:' .. lane)
local suspect = redis.call('HGET', KEYS[2], 'suspect:' .. lane) or ''
return {'ok', times, suspect}
