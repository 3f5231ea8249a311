-- schedule-event: the only way of an event into the schedule of a partition. defineScript's `with`
-- puts this file in front of a script.

-- Takes every member of this event out of the schedule. Needed where the event's record cannot be
-- read, and so does not name its member.
local function unschedule(schedule, id)
  for _, member in ipairs(redis.call('ZRANGE', schedule, 0, -1)) do
    if string.sub(member, (string.find(member, ':', 1, true) or 0) + 1) == id then
      redis.call('ZREM', schedule, member)
    end
  end
end

-- Puts an event into the schedule.
-- Returns
-- - its due time and false, or
-- - the due time of the event with this id that waits already, and true. Nothing has changed then.
-- A member is `<number>:<id>`, so that events due at the same moment keep their order.
-- A record is due time, number and type, then the bytes.
local function scheduleEvent(schedule, records, counters, id, due, eventType, bytes)
  local before = redis.call('HGET', records, id)
  local waits = before and string.match(before, '^(%-?%d+) %d+ %a[%w_.+$-]* ')
  if waits then return waits, true end
  -- The record of an event with this id cannot be read: the new event takes its place.
  if before then unschedule(schedule, id) end
  local text = string.format('%.0f', due)
  local number = addTo(counters, 'schedulings', 1)
  redis.call(
    'HSET', records, id,
    text .. ' ' .. string.format('%.0f', number) .. ' ' .. eventType .. ' ' .. bytes
  )
  redis.call('ZADD', schedule, text, string.format('%016.0f', number) .. ':' .. id)
  return text, false
end

