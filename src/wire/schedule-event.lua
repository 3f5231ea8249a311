-- schedule-event: how an event comes into the schedule of a partition. Put in front of a script by defineScript's `with`.

-- Returns when it is due, and false; or, where an event with this id waits already, when that one is due, and true: nothing changed then.
-- A member is `<number>:<id>`, so that events due at the same moment keep their order. A record: due, number, type, then the bytes.
local function scheduleEvent(schedule, records, counters, id, due, eventType, bytes)
  local before = redis.call('HGET', records, id)
  if before then return string.match(before, '^(%d+) '), true end
  local text = string.format('%.0f', due)
  local number = redis.call('HINCRBY', counters, 'schedulings', 1)
  redis.call('HSET', records, id, text .. ' ' .. string.format('%.0f', number) .. ' ' .. eventType .. ' ' .. bytes)
  redis.call('ZADD', schedule, text, string.format('%016.0f', number) .. ':' .. id)
  return text, false
end

