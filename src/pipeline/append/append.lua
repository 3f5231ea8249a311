-- append: appends one flush of one producer to one partition, one entry per type, all under one id.
--
-- KEYS
-- 1. producer
-- 2. clock
-- 3. counters
-- 4. then T streams
-- 5. then two sets for each stream with ids
-- 6. then, if U > 0, the schedule: its zset and its hash
--
-- ARGV
-- 1. sequence of the flush: 1, 2, ...; '' without a producer
-- 2. TTL of the producer key, ms
-- 3. T, number of types
-- 4. U, number of scheduled events that this flush appends
-- 5. most ids of a set
-- 6. then per stream seven arguments: type, number of events, CRC-32, EventBatch bytes, limit or
--    '', number of ids or 0, window in ms or 0. The limit: most events that the type's slowest
--    function may be behind
-- 7. then per stream with ids: the identities of its events (src/wire/event-identity.ts), in order
-- 8. then U x {member, field}: the scheduled events
--
-- reply, one of
-- - {'ok', entry id, then for each type beyond its limit: type, function, events behind}
-- - {'duplicate', entry id of the first time}: the flush was appended before
-- - {'repeated', then pairs of stream 1..T and index from 0}: these events' ids were appended
--   within the window; the caller takes them out
-- - {'taken'}: somebody else has moved one of the scheduled events
-- - {'gap', expected sequence}: the sequence is neither the next nor the last
-- - {'exhausted', key}: the stream has no id left above its last one
--
-- Only 'ok' changes events and counters. Under OOM the first write fails, and
-- nothing is done. The limit is told, not enforced: the publisher holds back later events of the
-- type, so that no flush is half accepted. Ids are remembered for one to two windows. A type has
-- two sets, which take turns: slot s = time / window has its set until slot s + 2 begins.
--
-- cost  O(types + ids + scheduled) plus the copy of the bytes; with a limit O(counters) ten times a
-- second
local T, U, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local FIRST, WIDTH = 6, 7
local sequence = tonumber(ARGV[1])
if sequence then
  local answered, expected = knownFlush(KEYS[1], sequence, ARGV[2])
  if answered then return {'duplicate', answered} end
  if expected then return {'gap', expected} end
end
local now = serverNow()

-- Step: find ids that were appended before, or stand twice in this flush.
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
      if here[id] or redis.call('SISMEMBER', mine, id) == 1
        or redis.call('SISMEMBER', other, id) == 1
      then
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
  parts[i] = {
    key = KEYS[3 + i], type = ARGV[a], count = ARGV[a + 1], crc = ARGV[a + 2], bytes = ARGV[a + 3]
  }
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
    -- The figure is kept for 100 ms: to add up all functions' counters with every flush would cost
    -- more than the flush.
    local known = redis.call('HGET', KEYS[3], 'backlog:' .. t)
    if known then
      local at, events, name = string.match(known, '^(%d+) (%d+) (.*)$')
      if at and now - tonumber(at) < 100 and now >= tonumber(at) then
        behind, fn = tonumber(events), name
      end
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
          local settled = of('done') + of('dead') + of('purged')
          local events = countOf(c['appended:' .. t]) - of('base') - settled - of('parked')
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
