-- append: one flush of one producer to one partition: an entry per type, all under the same id.
-- KEYS  1 producer, 2 clock, 3 counters, then T streams, then per stream with ids two sets, then with U scheduled: their zset and hash
-- ARGV  1 sequence of the flush (1, 2, ...; '': no producer), 2 TTL of the producer key in ms, 3 T, 4 U, 5 most ids a set takes,
--       then per stream: type, number of events, CRC-32, EventBatch bytes, most events its slowest function may be behind or '',
--         number of ids or 0, window in ms or 0,
--       then per stream with ids: the identities of its events (src/wire/event-identity.ts), in order; then U x {member, field}: scheduled events that these are
-- reply {'ok', entry id, then per type beyond its limit: type, function, events behind} | {'duplicate', entry id of the first time} |
--       {'repeated', stream 1..T, index from 0, ...}: these events' ids were appended within the window; take them out |
--       {'taken'}: somebody else has moved one of the scheduled events | {'gap', expected sequence} | {'exhausted', key}
-- Refuses a sequence that is neither the next nor the last. Under OOM the first write fails and nothing is done.
-- The limit is told, not enforced: what comes next is held back where it is published, per type, and nothing is half accepted.
-- Ids: two sets a type, by turns: of slot s = time / window, dropped when slot s + 2 begins, so an id is remembered for one to two windows.
-- cost  O(types + ids + scheduled) plus the copy of the bytes; with a limit O(counters) ten times a second
local T, U, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local FIRST, WIDTH = 6, 7
local sequence = tonumber(ARGV[1])
if sequence then
  local answered, expected = knownFlush(KEYS[1], sequence, ARGV[2])
  if answered then return {'duplicate', answered} end
  if expected then return {'gap', expected} end
end
local now = serverNow()

-- ids appended before, or twice in this flush
local at, sets, repeated, remembered = FIRST + T * WIDTH, 3 + T, {'repeated'}, {}
for i = 1, T do
  local a = FIRST + (i - 1) * WIDTH
  local ids, window = tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])
  if ids > 0 then
    local slot = math.floor(now / window)
    local mine, other = KEYS[sets + 1 + slot % 2], KEYS[sets + 1 + (slot + 1) % 2]
    local here = {}
    for j = 0, ids - 1 do
      local id = ARGV[at + j]
      if here[id] or redis.call('SISMEMBER', mine, id) == 1 or redis.call('SISMEMBER', other, id) == 1 then
        repeated[#repeated + 1] = i
        repeated[#repeated + 1] = j
      end
      here[id] = true
    end
    remembered[#remembered + 1] = {mine, at, ids, (slot + 2) * window, ARGV[a]}
    at = at + ids
    sets = sets + 2
  end
end
if #repeated > 1 then return repeated end
for u = 0, U - 1 do
  if redis.call('ZSCORE', KEYS[sets + 1], ARGV[at + 2 * u]) == false then return {'taken'} end
end

local parts = {}
for i = 1, T do
  local a = FIRST + (i - 1) * WIDTH
  parts[i] = {key = KEYS[3 + i], type = ARGV[a], count = ARGV[a + 1], crc = ARGV[a + 2], bytes = ARGV[a + 3]}
end
local id, refused = appendEntries(KEYS[2], KEYS[3], now, parts)
if not id then return refused end

if sequence then redis.call('SET', KEYS[1], ARGV[1] .. ':' .. id, 'PX', ARGV[2]) end
for _, one in ipairs(remembered) do
  local set, from, ids, until_, t = one[1], one[2], one[3], one[4], one[5]
  local room = most - redis.call('SCARD', set)
  for j = 0, math.min(ids, room) - 1 do redis.call('SADD', set, ARGV[from + j]) end
  redis.call('PEXPIREAT', set, string.format('%.0f', until_))
  if room < ids then addTo(KEYS[3], 'forgotten:' .. t, ids - math.max(0, room)) end
end
for u = 0, U - 1 do
  redis.call('ZREM', KEYS[sets + 1], ARGV[at + 2 * u])
  redis.call('HDEL', KEYS[sets + 2], ARGV[at + 2 * u + 1])
end
local reply = {'ok', id}
for i = 4, 3 + T do
  local a = FIRST + (i - 4) * WIDTH
  local t, limit = ARGV[a], tonumber(ARGV[a + 4])
  if limit then
    local behind, fn
    -- kept for a moment: adding up all functions' counters with every flush would cost more than the flush
    local known = redis.call('HGET', KEYS[3], 'backlog:' .. t)
    if known then
      local at, events, name = string.match(known, '^(%d+) (%d+) (.*)$')
      if at and now - tonumber(at) < 100 and now >= tonumber(at) then behind, fn = tonumber(events), name end
    end
    if not behind then
      behind, fn = 0, ''
      local flat = redis.call('HGETALL', KEYS[3])
      local c = {}
      for j = 1, #flat, 2 do c[flat[j]] = flat[j + 1] end
      for field, types in pairs(c) do
        local name = string.match(field, '^types:(.+)$')
        if name and string.find(',' .. types .. ',', ',' .. t .. ',', 1, true) then
          local at = ':' .. name .. ':' .. t
          local function of(state) return countOf(c[state .. at]) end
          local events = countOf(c['appended:' .. t]) - of('base') - of('done') - of('dead') - of('purged') - of('parked')
          if events > behind then behind, fn = events, name end
        end
      end
      redis.call('HSET', KEYS[3], 'backlog:' .. t, string.format('%.0f %.0f %s', now, behind, fn))
    end
    if behind > limit then
      reply[#reply + 1] = t
      reply[#reply + 1] = fn
      reply[#reply + 1] = string.format('%.0f', behind)
    end
  end
end
return reply
