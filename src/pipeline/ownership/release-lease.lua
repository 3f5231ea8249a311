-- release-lease: gives a lane back. Its next owner need not wait for the TTL, and knows that nobody
-- died.
-- KEYS  1 lease, 2 counters
-- ARGV  1 lease value, 2 lane name,
--       3 'passed' (all that was pending or due at the owner's start has run) or '',
--       4 address of the event that the owner has marked (mark-suspect.lua), or ''
-- reply 1 | 0 (the lease was not ours any more)
-- An owner that has not passed leaves the search to the next owner: earlier owners died of
-- something that has not run since.
-- cost  O(1)
if not holdsLease(KEYS[1], KEYS[2], ARGV[2], ARGV[1], nil) then return 0 end
local lane = ARGV[2]
redis.call('HDEL', KEYS[2], 'open:' .. lane, 'opener:' .. lane)
if ARGV[3] == 'passed' then
  redis.call(
    'HDEL', KEYS[2], 'presumed:' .. lane, 'lives:' .. lane, 'crash:' .. lane, 'suspect:' .. lane
  )
elseif ARGV[4] ~= '' then
  -- The run was cut off, and its owner lives.
  local mark = redis.call('HGET', KEYS[2], 'suspect:' .. lane) or ''
  local deaths, address = string.match(mark, '^(%d+) (.+)$')
  if address == ARGV[4] then
    deaths = math.max(0, tonumber(deaths) - 1)
    redis.call('HSET', KEYS[2], 'suspect:' .. lane, deaths .. ' ' .. address)
  end
end
return redis.call('DEL', KEYS[1])
