-- mark-suspect: marks an event before it runs, because it may kill the whole dispatcher. Clears the
-- mark once the event has run.
-- KEYS  1 lease, 2 counters
-- ARGV  1 lease value, 2 TTL in ms, 3 lane name, 4 'begin' | 'survived' | 'look' |
--       'end' (of the search), 5 address of the event, 6 its deaths when the search began
-- reply -1 (the lease is lost) | deaths of which the event is suspected, without a run under way
-- The mark is `<deaths> <address>`. A run under way counts as a death until it is survived.
-- cost O(1)
if not holdsLease(KEYS[1], KEYS[2], ARGV[3], ARGV[1], ARGV[2]) then return -1 end
local lane, what, address = ARGV[3], ARGV[4], ARGV[5]
if what == 'end' then
  redis.call(
    'HDEL', KEYS[2], 'crash:' .. lane, 'suspect:' .. lane, 'presumed:' .. lane, 'lives:' .. lane
  )
  return 0
end
local count, at = string.match(
  redis.call('HGET', KEYS[2], 'suspect:' .. lane) or '', '^(%d+) (.+)$'
)
local deaths = tonumber(count)
if at ~= address then
  -- Marks of other events have replaced this one's. An owner that was presumed dead of it may have
  -- said since that it lives.
  local lives, of = string.match(
    redis.call('HGET', KEYS[2], 'lives:' .. lane) or '', '^(%d+) (.+)$'
  )
  deaths = math.max(0, tonumber(ARGV[6]) - (of == address and tonumber(lives) or 0))
end
if what == 'look' then return deaths end
if what == 'survived' then deaths = math.max(0, deaths - 1) end
redis.call(
  'HSET', KEYS[2], 'suspect:' .. lane, (what == 'begin' and deaths + 1 or deaths) .. ' ' .. address
)
return deaths
