-- revision-at: counts the events of a history whose entries had been appended by a time, by the
-- server's clock.
-- KEYS  1 history
-- ARGV  1 ms since 1970
-- reply the revision; 0: there was no history
-- The entry ids grow along a history, and an element ends with its entry id. Reads only.
-- cost  O(log events) list look-ups
local time = tonumber(ARGV[1])
local low, high = 0, redis.call('LLEN', KEYS[1])
while low < high do
  local middle = math.floor((low + high + 1) / 2)
  local ms = tonumber(string.match(redis.call('LINDEX', KEYS[1], middle - 1), '(%d+)%-%d+$') or '0')
  if ms <= time then low = middle else high = middle - 1 end
end
return low
