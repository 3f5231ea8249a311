-- append: one flush of one producer to one partition: an entry per type, all under the same id.
-- KEYS  1 producer, 2 clock, 3 counters, then T streams, then per stream with ids two sets, then with U scheduled: their zset and hash
-- ARGV  1 sequence of the flush (1, 2, ...; '': no producer), 2 TTL of the producer key in ms, 3 T, 4 U, 5 most ids a set takes,
--       then per stream: type, number of events, CRC-32, EventBatch bytes, most events its slowest function may be behind or '',
--         number of ids or 0, window in ms or 0,
--       then per stream with ids: the ids of its events, in order; then U x {member, field}: scheduled events that these are
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
local previous = sequence and redis.call('GET', KEYS[1])
if not sequence then
  -- guarded by what it takes
elseif previous then
  local colon = string.find(previous, ':', 1, true)
  local last = tonumber(string.sub(previous, 1, colon - 1))
  if sequence == last then
    -- A write, so that a WAIT or WAITAOF sent behind it waits for the first time's data too.
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {'duplicate', string.sub(previous, colon + 1)}
  end
  if sequence ~= last + 1 then return {'gap', string.format('%.0f', last + 1)} end
elseif sequence ~= 1 then
  return {'gap', '1'}
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

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

local ms = now
local seq = 0
local clock = redis.call('HMGET', KEYS[2], 'ms', 'seq')
if clock[1] and tonumber(clock[1]) >= ms then
  ms = tonumber(clock[1])
  seq = tonumber(clock[2]) + 1
end
local function id() return string.format('%.0f-%.0f', ms, seq) end

-- Appends all streams under the current id; on "equal or smaller" (a foreign producer is ahead) returns false and the
-- number of streams that had already taken it.
local ordinals = {}
for i = 4, 3 + T do
  local a = FIRST + (i - 4) * WIDTH
  ordinals[i] = redis.call('HINCRBY', KEYS[3], 'appended:' .. ARGV[a], ARGV[a + 1])
end
local function add()
  for i = 4, 3 + T do
    local a = FIRST + (i - 4) * WIDTH
    local reply = redis.pcall('XADD', KEYS[i], id(), 'b', ARGV[a + 3], 'n', ARGV[a + 1], 'c', ARGV[a + 2], 'o', ordinals[i])
    if type(reply) == 'table' and reply.err then return false, i - 1, reply.err end
  end
  return true
end

local added, upto, err = add()
if not added then
  for i = 4, upto do redis.call('XDEL', KEYS[i], id()) end
  local function undo()
    for i = 4, 3 + T do
      local a = FIRST + (i - 4) * WIDTH
      redis.call('HINCRBY', KEYS[3], 'appended:' .. ARGV[a], -tonumber(ARGV[a + 1]))
    end
  end
  -- Step above whatever is in any of the streams.
  for i = 4, 3 + T do
    if redis.call('EXISTS', KEYS[i]) == 1 then
      local info = redis.pcall('XINFO', 'STREAM', KEYS[i])
      if info.err then undo(); return redis.error_reply(info.err) end
      for j = 1, #info, 2 do
        if info[j] == 'last-generated-id' then
          local dash = string.find(info[j + 1], '-', 1, true)
          local lastMs = tonumber(string.sub(info[j + 1], 1, dash - 1))
          local lastSeq = tonumber(string.sub(info[j + 1], dash + 1))
          if lastSeq >= 9007199254740991 then lastMs = lastMs + 1; lastSeq = -1 end
          if lastMs >= 9007199254740991 then undo(); return {'exhausted', KEYS[i]} end
          if lastMs > ms or (lastMs == ms and lastSeq >= seq) then ms = lastMs; seq = lastSeq + 1 end
        end
      end
    end
  end
  added, upto, err = add()
  if not added then
    for i = 4, upto do redis.call('XDEL', KEYS[i], id()) end
    undo()
    return redis.error_reply(err)
  end
end

for i = 4, 3 + T do
  redis.call('HINCRBY', KEYS[3], 'entries:' .. ARGV[FIRST + (i - 4) * WIDTH], 1)
end
redis.call('HSET', KEYS[2], 'ms', string.format('%.0f', ms), 'seq', string.format('%.0f', seq))
if sequence then redis.call('SET', KEYS[1], ARGV[1] .. ':' .. id(), 'PX', ARGV[2]) end
for _, one in ipairs(remembered) do
  local set, from, ids, until_, t = one[1], one[2], one[3], one[4], one[5]
  local room = most - redis.call('SCARD', set)
  for j = 0, math.min(ids, room) - 1 do redis.call('SADD', set, ARGV[from + j]) end
  redis.call('PEXPIREAT', set, string.format('%.0f', until_))
  if room < ids then redis.call('HINCRBY', KEYS[3], 'forgotten:' .. t, ids - math.max(0, room)) end
end
for u = 0, U - 1 do
  redis.call('ZREM', KEYS[sets + 1], ARGV[at + 2 * u])
  redis.call('HDEL', KEYS[sets + 2], ARGV[at + 2 * u + 1])
end
local reply = {'ok', id()}
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
          local function of(state) return tonumber(c[state .. at] or '0') end
          local events = tonumber(c['appended:' .. t] or '0') - of('base') - of('done') - of('dead') - of('purged') - of('parked')
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
