-- begin-pass: from here on a generation of a view is built from the histories in this partition: what was appended up to now comes
-- from them, what comes later from the streams. Decided and fixed in one step, so that nothing lies between, and nothing on both sides.
-- KEYS  1 counters, 2.. the streams of its types
-- ARGV  1 function, 2 startFrom, 3 ordering, 4.. its types, in the order of the streams
-- reply {'pass', what is in `pass:<f>`} (begun now, or earlier) | {'lanes'} (it is registered, or the streams are whole: its lanes do it) |
--       {'foreign', type, events} (they are in no history) | {'again', type} (adopt, call again)
-- Writes `pass:<f>`: JSON {"to":{type: last entry id of its stream},"stored":{type: events that were appended to histories}}.
-- Its groups are made behind those ids; base is all that was appended: the pass takes off it what it has folded (finish-pass.lua).
-- Sent again it does nothing and answers the same.
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
  redis.call('HSET', KEYS[1], 'base:' .. fn .. ':' .. t, string.format('%.0f', counter('appended', t)), 'at:' .. fn .. ':' .. t, last)
  to[t], stored[t], types[#types + 1] = last, string.format('%.0f', counter('stored', t)), t
end
local pass = cjson.encode({to = to, stored = stored})
redis.call('HSET', KEYS[1], 'start:' .. fn, ARGV[2], 'ordering:' .. fn, ARGV[3], 'types:' .. fn, table.concat(types, ','), 'pass:' .. fn, pass)
return {'pass', pass}
