-- run-now: makes parked units due at once, before their time.
-- KEYS  1 due
-- ARGV  1 most units, 2.. units (none: those that are due first)
-- reply {number of units moved, number of held ones among those named}
-- A held unit stays as it is: it waits for its dead letter, not for a time. A unit without a place
-- in `due` is not parked.
-- cost  O(log(parked) x units)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local units, moved, held = {}, 0, 0
for i = 2, #ARGV do units[#units + 1] = ARGV[i] end
if #units == 0 then
  units = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '(+inf', 'LIMIT', 0, tonumber(ARGV[1]))
end
for _, unit in ipairs(units) do
  local score = redis.call('ZSCORE', KEYS[1], unit)
  if score == 'inf' then
    held = held + 1
  elseif score and tonumber(score) > now then
    redis.call('ZADD', KEYS[1], 'XX', now, unit)
    moved = moved + 1
  end
end
return {moved, held}
