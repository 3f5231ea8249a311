-- read-histories: reads the beginnings of many histories of a partition, one after the other, as
-- far as a budget goes. Reads only.
-- KEYS  histories
-- ARGV  1 most events, 2 bytes to stop after
-- reply per history {its revision, event, ...}; the last one is that at which the budget was used
--       up, and may be cut short
-- cost  O(events)
local CHUNK = 32
local most, bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local reply = {}
for h = 1, #KEYS do
  local length = redis.call('LLEN', KEYS[h])
  local out = {string.format('%.0f', length)}
  local at = 0
  while at < length and most > 0 and bytes > 0 do
    local events = redis.call('LRANGE', KEYS[h], at, at + math.min(CHUNK, most) - 1)
    for i = 1, #events do
      out[#out + 1] = events[i]
      bytes = bytes - #events[i]
    end
    most = most - #events
    at = at + #events
  end
  reply[h] = out
  if most <= 0 or bytes <= 0 then break end
end
return reply
