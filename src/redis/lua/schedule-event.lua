-- schedule-event: how an event comes into the schedule of a partition. Put in front of a script by defineScript's `with`.

-- Takes out whatever stands in the schedule for this event: where its record does not say which member it is.
local function unschedule(schedule, id)
  for _, member in ipairs(redis.call('ZRANGE', schedule, 0, -1)) do
    if string.sub(member, (string.find(member, ':', 1, true) or 0) + 1) == id then redis.call('ZREM', schedule, member) end
  end
end

-- Returns when it is due, and false; or, where an event with this id waits already, when that one is due, and true: nothing changed then.
-- A member is `<number>:<id>`, so that events due at the same moment keep their order. A record: due, number, type, then the bytes.
local function scheduleEvent(schedule, records, counters, id, due, eventType, bytes)
  local before = redis.call('HGET', records, id)
  local waits = before and string.match(before, '^(%-?%d+) %d+ %a[%w_.+$-]* ')
  if waits then return waits, true end
  -- Its record cannot be read: this one takes its place.
  if before then unschedule(schedule, id) end
  local text = string.format('%.0f', due)
  local number = addTo(counters, 'schedulings', 1)
  redis.call('HSET', records, id, text .. ' ' .. string.format('%.0f', number) .. ' ' .. eventType .. ' ' .. bytes)
  redis.call('ZADD', schedule, text, string.format('%016.0f', number) .. ':' .. id)
  return text, false
end

