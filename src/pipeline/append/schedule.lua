-- schedule: puts events of one partition away until they are due.
-- KEYS  1 the call (string with TTL), 2 scheduled (zset), 3 scheduled events (hash), 4 counters
-- ARGV  1 TTL of the call's key in ms, 2 most scheduled events of a partition, then per event: id, '1' with a delay | '0' with a time,
--       the delay or the time in ms, type, Event message
-- reply {'ok', then per event: due in ms, '1' (it was scheduled before: nothing changed) or '0'} | {'repeat', ...the same} | {'full', limit}
-- The same call sent again changes nothing, also when its events have been appended meanwhile: its key has the answer.
-- Under OOM the first write fails.
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
  local text, before = scheduleEvent(KEYS[2], KEYS[3], KEYS[4], ARGV[a], due, ARGV[a + 3], ARGV[a + 4])
  reply[#reply + 1] = text
  reply[#reply + 1] = before and '1' or '0'
end
redis.call('SET', KEYS[1], cjson.encode(reply), 'PX', ARGV[1])
return reply
