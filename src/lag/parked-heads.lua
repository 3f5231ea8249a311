-- parked-heads: returns the origins of the first records of parked lists, without their payloads.
-- Reads only.
-- With src/redis/lua/arrivals.lua in front.
--
-- KEYS
-- 1. due
-- 2. arrived
-- 3. then parked lists
--
-- ARGV
-- 1. most records of a list
-- 2. then units, in the order of the lists
--
-- Returns for each list {due or '', score in `arrived` or '', records of the list, type, entry id,
-- type, entry id, ...}. A record that is no ParkedEvent is ('', '').
--
-- Cost: O(lists x records), each with its bytes.
local reply = {}
for i = 3, #KEYS do
  local unit, list = ARGV[i - 1], KEYS[i]
  local due, score = redis.pcall('ZSCORE', KEYS[1], unit), redis.pcall('ZSCORE', KEYS[2], unit)
  local length = redis.pcall('LLEN', list)
  local out = {
    type(due) == 'string' and due or '', type(score) == 'string' and score or '',
    type(length) == 'number' and length or 0
  }
  local records = redis.pcall('LRANGE', list, 0, tonumber(ARGV[1]) - 1)
  for _, record in ipairs(records.err and {} or records) do
    local kind, id = originOf(record)
    out[#out + 1] = kind or ''
    out[#out + 1] = id or ''
  end
  reply[i - 2] = out
end
return reply
