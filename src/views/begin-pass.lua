-- begin-pass: begins to build a generation of a view from the histories of this partition. Events
-- appended up to now come from the histories, later ones from the streams. One step decides and
-- fixes the boundary, so no event lies between the two sides, and none on both.
-- KEYS  1 counters, 2.. the streams of its types
-- ARGV  1 function, 2 startFrom, 3 ordering, 4.. its types, in the order of the streams
-- reply {'pass', value of `pass:<f>`} (begun now, or earlier) |
--       {'lanes'} (it is registered, or the streams are whole: its lanes build the rows) |
--       {'foreign', type, events} (they are in no history) | {'again', type} (adopt, call again)
-- Writes `pass:<f>`: JSON {"to":{type: last entry id of its stream},
-- "stored":{type: events that were appended to histories}}.
-- The groups are made behind those ids. `base` is the number of all appended events: finish-pass
-- subtracts the folded ones.
-- A repeated call changes nothing and gets the same answer.
-- cost  O(types)
local fn = ARGV[1]
local function counter(name, t) return countOf(redis.call('HGET', KEYS[1], name .. ':' .. t)) end
local begun = redis.call('HGET', KEYS[1], 'pass:' .. fn)
if begun then return {'pass', begun} end
local trimmed = 0
for i = 2, #KEYS do
  local t = ARGV[i + 2]
  if redis.call('HEXISTS', KEYS[1], 'base:' .. fn .. ':' .. t) == 1 then return {'lanes'} end
  trimmed = trimmed + counter('trimmed', t)
end
if trimmed == 0 then return {'lanes'} end
for i = 2, #KEYS do
  local t = ARGV[i + 2]
  if redis.call('XLEN', KEYS[i]) ~= counter('entries', t) then return {'again', t} end
  local foreign = counter('foreign', t)
  if foreign > 0 then return {'foreign', t, string.format('%.0f', foreign)} end
end

local to, stored, types = {}, {}, {}
for i = 2, #KEYS do
  local t = ARGV[i + 2]
  local last = '0-0'
  if redis.call('EXISTS', KEYS[i]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[i])
    for j = 1, #info, 2 do
      if info[j] == 'last-generated-id' then last = info[j + 1] end
    end
  end
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[i], fn, last, 'MKSTREAM')
  if made.err then
    if string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then return redis.error_reply(made.err) end
    redis.call('XGROUP', 'SETID', KEYS[i], fn, last)
  end
  redis.call(
    'HSET', KEYS[1], 'base:' .. fn .. ':' .. t, string.format('%.0f', counter('appended', t)),
    'at:' .. fn .. ':' .. t, last
  )
  to[t], stored[t], types[#types + 1] = last, string.format('%.0f', counter('stored', t)), t
end
local pass = cjson.encode({to = to, stored = stored})
redis.call(
  'HSET', KEYS[1], 'start:' .. fn, ARGV[2], 'ordering:' .. fn, ARGV[3], 'types:' .. fn,
  table.concat(types, ','), 'pass:' .. fn, pass
)
return {'pass', pass}
