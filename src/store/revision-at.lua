-- revision-at: how many events a history had at a time: those whose entry had been appended by then, by the server's clock.
-- KEYS  1 history
-- ARGV  1 ms since 1970
-- reply the revision, 0 where there was none
-- Entry ids grow along a history, and an element ends with its own. Reads only.
-- cost  O(log events) list look-ups
local time = tonumber(ARGV[1])
local low, high = 0, redis.call('LLEN', KEYS[1])
while low < high do
  local middle = math.floor((low + high + 1) / 2)
  local ms = tonumber(string.match(redis.call('LINDEX', KEYS[1], middle - 1), '(%d+)%-%d+$') or '0')
  if ms <= time then low = middle else high = middle - 1 end
end
return low
