-- purge: deletes dead letters of one function and partition for good. Their events stay settled: they move from `dead` to `purged`.
-- KEYS  1 dead letters, 2 counters
-- ARGV  1 function, then per letter: entry id, type, number of events it stands for
-- reply number of letters deleted (those that were gone before are not counted twice)
-- XDEL comes first: it works under OOM and makes the rest of the script work there too.
-- cost  O(letters)
local fn, purged, sums = ARGV[1], 0, {}
for a = 2, #ARGV, 3 do
  if redis.call('XDEL', KEYS[1], ARGV[a]) == 1 then
    purged = purged + 1
    local t = ARGV[a + 1]
    sums[t] = (sums[t] or 0) + tonumber(ARGV[a + 2])
  end
end
for t, events in pairs(sums) do
  redis.call('HINCRBY', KEYS[2], 'dead:' .. fn .. ':' .. t, -events)
  redis.call('HINCRBY', KEYS[2], 'purged:' .. fn .. ':' .. t, events)
end
return purged
