-- cancel-scheduled: takes one scheduled event back.
-- With src/redis/lua/schedule-event.lua in front.
--
-- KEYS
-- 1. scheduled (zset)
-- 2. scheduled events (hash)
--
-- ARGV
-- 1. event id
--
-- Returns 1, or 0 where no such event waits.
--
-- An unreadable record does not say where the event stands in the schedule; the schedule is
-- searched.
--
-- Cost: O(log scheduled), else O(scheduled).
local id = ARGV[1]
local record = redis.call('HGET', KEYS[2], id)
if not record then return 0 end
local number = string.match(record, '^%-?%d+ (%d+) ')
local removed = number
  and redis.call('ZREM', KEYS[1], string.format('%016.0f', tonumber(number)) .. ':' .. id) or 0
if removed == 0 then unschedule(KEYS[1], id) end
redis.call('HDEL', KEYS[2], id)
return 1
