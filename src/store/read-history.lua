-- read-history: reads a page of a history. For a load it also reads the snapshot and a remembered
-- append, in the same round trip.
-- KEYS  1 history, 2 snapshot, 3 remembered appends
-- ARGV  1 first revision, 2 last revision (both from 1, in the order of reading), 3 most events,
--       4 bytes to stop after, 5 schema of the snapshot to start behind or '' (forwards only),
--       6 first event id of an append to look for or '', 7 'forwards' | 'backwards'
-- reply {revision of the history, the append: '<revision before>:<events>' or '',
--       snapshot's revision or '', its state, event, ...}
--       For a damaged append or snapshot: '!' and the problem, in place of the append or of the
--       snapshot's revision
-- A snapshot fits if it has this schema and is within the history and the range. The events are
-- then those after it. Reads only.
-- cost  O(events of the page), plus the way into the middle of a long list
local CHUNK = 32
local length = redis.call('LLEN', KEYS[1])
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local most, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local reply = {string.format('%.0f', length), '', '', ''}
local function anotherType(key)
  local kind = redis.call('TYPE', key).ok
  return kind ~= 'hash' and '!its key is of another type: ' .. kind or nil
end
if ARGV[6] ~= '' then
  local append = redis.pcall('HGET', KEYS[3], ARGV[6])
  if type(append) == 'table' then
    local wrong = anotherType(KEYS[3])
    if not wrong then return append end
    append = wrong
  elseif append and not string.match(append, '^%d+:%d+$') then
    append = '!it says no revision and number'
  end
  reply[2] = append or ''
end
local backwards = ARGV[7] == 'backwards'
if ARGV[5] ~= '' then
  local snapshot = redis.pcall('HMGET', KEYS[2], 'revision', 'state', 'schema')
  if snapshot.err then
    reply[3] = anotherType(KEYS[2])
    if not reply[3] then return snapshot end
    snapshot = {}
  elseif (snapshot[1] or snapshot[2] or snapshot[3])
    and not (snapshot[1] and string.match(snapshot[1], '^%d+$') and snapshot[2] and snapshot[3])
  then
    reply[3] = '!it has no revision, state and schema'
    snapshot = {}
  end
  local revision = snapshot[1] and tonumber(snapshot[1])
  if revision and revision > length and snapshot[3] == ARGV[5] then
    reply[3] = '!its revision is beyond the history'
  end
  if revision and snapshot[3] == ARGV[5] and revision >= first
    and revision <= math.min(last, length)
  then
    reply[3], reply[4] = snapshot[1], snapshot[2]
    first = revision + 1
  end
end
if backwards then first = math.min(first, length) else last = math.min(last, length) end
while most > 0 and bytes > 0 and (backwards and first >= last or not backwards and first <= last) do
  local take = math.min(CHUNK, most, math.abs(last - first) + 1)
  local events
  if backwards then events = redis.call('LRANGE', KEYS[1], first - take, first - 1)
  else events = redis.call('LRANGE', KEYS[1], first - 1, first + take - 2) end
  for i = 1, take do
    local event = events[backwards and take - i + 1 or i]
    reply[#reply + 1] = event
    bytes = bytes - #event
  end
  most = most - take
  first = first + (backwards and -take or take)
end
return reply
