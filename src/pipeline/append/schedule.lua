-- schedule: puts events of one partition away until they are due.
--
-- KEYS
-- 1. the call (string with TTL)
-- 2. scheduled (zset)
-- 3. scheduled events (hash)
-- 4. counters
--
-- ARGV
-- 1. TTL of the call's key, ms
-- 2. most scheduled events of a partition
-- 3. then per event five arguments: id, '1' with a delay or '0' with a time, the delay or the time
--    in ms, type, Event message
--
-- reply, one of
-- - {'ok', then per event: due time in ms, '1' if it was scheduled before and nothing changed, or
--   '0'}
-- - {'repeat', then as with 'ok'}: the call was made before
-- - {'full', limit}: nothing was scheduled
--
-- The same call sent again changes nothing: the call's key has the answer. This holds even where
-- its events have been appended meanwhile. Under OOM the first write fails, and nothing is done.
--
-- cost  O(events x log scheduled)
local known = redis.call('GET', KEYS[1])
if known then
  local reply = cjson.decode(known)
  reply[1] = 'repeat'
  return reply
end
local now = serverNow()
local count = (#ARGV - 2) / 5
if redis.call('ZCARD', KEYS[2]) + count > tonumber(ARGV[2]) then return {'full', ARGV[2]} end
local reply = {'ok'}
for i = 0, count - 1 do
  local a = 3 + i * 5
  local due = tonumber(ARGV[a + 2])
  if ARGV[a + 1] == '1' then due = now + due end
  local text, before = scheduleEvent(
    KEYS[2], KEYS[3], KEYS[4], ARGV[a], due, ARGV[a + 3], ARGV[a + 4]
  )
  reply[#reply + 1] = text
  reply[#reply + 1] = before and '1' or '0'
end
redis.call('SET', KEYS[1], cjson.encode(reply), 'PX', ARGV[1])
return reply
