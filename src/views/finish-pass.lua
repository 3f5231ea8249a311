-- finish-pass: ends a pass after all histories of a partition are folded. From here on the lane may
-- run. The histories must have held all events that had been appended.
-- KEYS  1 lease, 2 counters, 3 cursor of the pass
-- ARGV  1 lease value, 2 function, 3 '1': finish even if events are missing (else '0'),
--       then per type: type, events folded
-- reply {'ok'} | {'stale'} (the lease is lost) |
--       {'missing', then per type: events that are in no history (negative: too many)}
-- The folded events move from `base` to `done`. The number of events in histories is now known, so
-- `stored:<t>` is corrected. It did not count from the beginning where the deployment is older than
-- the counter.
-- A repeated call changes nothing and answers ok.
-- cost  O(types)
local fn = ARGV[2]
local pass = redis.call('HGET', KEYS[2], 'pass:' .. fn)
if not pass then return {'ok'} end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'stale'} end
local function whole(x) return string.format('%.0f', x) end
local stored = cjson.decode(pass).stored
local reply, missing, fields = {'missing'}, false, {}
for i = 4, #ARGV, 2 do
  local t, folded = ARGV[i], tonumber(ARGV[i + 1])
  local left = countOf(redis.call('HGET', KEYS[2], 'base:' .. fn .. ':' .. t)) - folded
  missing = missing or left ~= 0
  reply[#reply + 1] = whole(left)
  for _, text in ipairs({
    'base:' .. fn .. ':' .. t, whole(left), 'done:' .. fn .. ':' .. t, whole(folded),
    'stored:' .. t,
    whole(countOf(redis.call('HGET', KEYS[2], 'stored:' .. t)) - countOf(stored[t]) + folded),
  }) do fields[#fields + 1] = text end
end
if missing and ARGV[3] ~= '1' then return reply end
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[2], unpack(fields))
redis.call('HDEL', KEYS[2], 'pass:' .. fn)
return {'ok'}
