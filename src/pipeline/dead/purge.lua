-- purge: deletes dead letters of one function and partition for good. Their events stay settled:
-- their count moves from `dead` to `purged`.
-- KEYS  1 dead letters, 2 counters, 3 due, 4 held, 5 arrived, 6 groups,
--       then per letter the parked list of its unit
-- ARGV  1 function, then per letter: entry id, type, number of its events, unit ('' without one),
--       fingerprint ('' without one)
-- reply number of letters deleted by this call
-- A unit that a deleted letter held goes on with the records that wait in its list.
-- XDEL comes first: it works under OOM and makes the rest of the script work there too.
-- cost  O(letters)
local fn, purged, sums, out = ARGV[1], 0, {}, {}
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
for a = 2, #ARGV, 5 do
  if redis.call('XDEL', KEYS[1], ARGV[a]) == 1 then
    purged = purged + 1
    noteLetterGone(out, ARGV[a + 4], ARGV[a])
    local t, unit = ARGV[a + 1], ARGV[a + 3]
    sums[t] = (sums[t] or 0) + tonumber(ARGV[a + 2])
    if redis.call('HGET', KEYS[4], unit) == ARGV[a] then
      redis.call('HDEL', KEYS[4], unit)
      local list = KEYS[7 + (a - 2) / 5]
      if redis.call('EXISTS', list) == 1 then
        redis.call('ZADD', KEYS[3], now, unit)
      else
        redis.call('ZREM', KEYS[3], unit)
      end
      noteHead(KEYS[5], unit, list, false)
    end
  end
end
if purged > 0 then uncountLetters(KEYS[6], out, redis.call('XLEN', KEYS[1])) end
for t, events in pairs(sums) do
  addTo(KEYS[2], 'dead:' .. fn .. ':' .. t, -events)
  addTo(KEYS[2], 'purged:' .. fn .. ':' .. t, events)
end
return purged
