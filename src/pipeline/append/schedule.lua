-- schedule: puts events of one partition away until they are due.
-- KEYS  1 the call (string with TTL), 2 scheduled (zset), 3 scheduled events (hash), 4 counters
-- ARGV  1 TTL of the call's key in ms, 2 most scheduled events of a partition, then per event: id, '1' with a delay | '0' with a time,
--       the delay or the time in ms, type, Event message
-- reply {'ok', then per event: due in ms, '1' (it was scheduled before: nothing changed) or '0'} | {'repeat', ...the same} | {'full', limit}
-- The same call sent again changes nothing, also when its events have been appended meanwhile: its key has the answer.
-- A member is `<number>:<id>`, so that events due at the same moment keep their order. Under OOM the first write fails.
-- cost  O(events x log scheduled)
local known = redis.call('GET', KEYS[1])
if known then
  local reply = cjson.decode(known)
  reply[1] = 'repeat'
  return reply
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local count = (#ARGV - 2) / 5
if redis.call('ZCARD', KEYS[2]) + count > tonumber(ARGV[2]) then return {'full', ARGV[2]} end
local reply = {'ok'}
for i = 0, count - 1 do
  local a = 3 + i * 5
  local id, due = ARGV[a], tonumber(ARGV[a + 2])
  if ARGV[a + 1] == '1' then due = now + due end
  local text = string.format('%.0f', due)
  local before = redis.call('HGET', KEYS[3], id)
  if before then
    reply[#reply + 1] = string.match(before, '^(%d+) ')
    reply[#reply + 1] = '1'
  else
    local number = redis.call('HINCRBY', KEYS[4], 'schedulings', 1)
    -- due, number, type, then the bytes
    redis.call('HSET', KEYS[3], id, text .. ' ' .. string.format('%.0f', number) .. ' ' .. ARGV[a + 3] .. ' ' .. ARGV[a + 4])
    redis.call('ZADD', KEYS[2], text, string.format('%016.0f', number) .. ':' .. id)
    reply[#reply + 1] = text
    reply[#reply + 1] = '0'
  end
end
redis.call('SET', KEYS[1], cjson.encode(reply), 'PX', ARGV[1])
return reply
