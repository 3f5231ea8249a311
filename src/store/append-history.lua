-- append-history: appends to histories of one partition that travel together. Each append is
-- decided by itself, in order. An accepted one goes into its history and, in the same step, into
-- the streams of its types.
-- KEYS  1 producer, 2 clock, 3 counters, then T streams, H histories, R hashes of remembered
--       appends (one per append to remember), C sets of histories
-- ARGV  1 sequence of the batch (1, 2, ...), 2 TTL of the producer key in ms, 3 T, 4 H, 5 R,
--       6 most events of a history,
--       7 bytes before the first event in each EventBatch (its source), 8 plan,
--       then T x {type, number of events, CRC-32, EventBatch bytes: the events of this type of all
--       appends, in order},
--       then H ids, then R ids of first events
-- plan  u32, little-endian: H x category 1..C, A, then A x {history 1..H, remembered 1..R or 0,
--       expected revision or ANY or EXISTS, E, P,
--       P x {type 1..T, number of events, CRC-32 of the source and these},
--       E x {type, length of the Event message}}
-- reply {'ok', answers, errors...} | {'gap', expected sequence}
--       answers, one per append, with a space between:
--       w<revision> appended, under the entry id of the last @<id> before it;
--       r<revision before>:<events> an append with this first event id is remembered;
--       c<revision> conflict; f<revision> full; x a key of another type is in the way;
--       m the remembered append is damaged; e<n> the n-th error
-- If all appends are accepted, they share one entry per type. If one is refused, or the common
-- entry fails, each append gets entries of its own, so that no append fails with another.
-- A batch that is sent again gets the same answer again. Under OOM the first write fails, and
-- nothing is done.
-- cost  O(appends + events) plus the copy of the bytes
local ANY, EXISTS = 4294967295, 4294967294
local sequence = tonumber(ARGV[1])
local answered, wanted = knownFlush(KEYS[1], sequence, ARGV[2])
if answered then return cjson.decode(answered) end
if wanted then return {'gap', wanted} end

local T, H, R = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local most, head, plan = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local histories, memories, sets = 3 + T, 3 + T + H, 3 + T + H + R
local ids = 8 + 4 * T
local firsts = ids + H
local unpackPlan = struct.unpack
local at = 1
local categories = {}
for h = 1, H do categories[h], at = unpackPlan('<I4', plan, at) end
local A
A, at = unpackPlan('<I4', plan, at)

local function framed(length)
  -- Bytes of an event with its tag and the varint of its length.
  if length < 128 then
    return length + 2
  elseif length < 16384 then
    return length + 3
  elseif length < 2097152 then
    return length + 4
  end
  return length + 5
end
local function text(tag, value)
  if #value < 128 then return tag .. string.char(#value) .. value end
  return tag .. string.char(#value % 128 + 128, math.floor(#value / 128)) .. value
end

-- Decide each append, and find its events in the batches. Lists of numbers, by append or by event,
-- hold the findings: a table for each append costs more than the append's commands.
local cursors, before = {}, {}
for t = 1, T do
  cursors[t] = head + 1
  before[t] = text('\10', ARGV[8 + 4 * t - 3]) .. string.sub(ARGV[8 + 4 * t], 1, head)
end
local revisions, mine = {}, {}
local answers, accepted = {}, 0
-- By append: history, remembered, revision before it or false, its parts in the plan, their number,
-- and the number of its last event.
local historyOf, rememberedOf, beforeOf = {}, {}, {}
local partsOf, countOfParts, lastOf = {}, {}, {[0] = 0}
-- By event: type, first byte and last byte in the type's EventBatch.
local typeOf, fromOf, toOf = {}, {}, {}
local n = 0
for a = 1, A do
  local h, r, expected, E, P
  h, r, expected, E, P, at = unpackPlan('<I4I4I4I4I4', plan, at)
  historyOf[a], rememberedOf[a], partsOf[a], countOfParts[a] = h, r, at, P
  at = at + 12 * P
  for _ = 1, E do
    local t, length
    t, length, at = unpackPlan('<I4I4', plan, at)
    local from = cursors[t]
    local to = from + framed(length)
    cursors[t] = to
    n = n + 1
    typeOf[n], fromOf[n], toOf[n] = t, from, to - 1
  end
  lastOf[a] = n
  local actual = revisions[h]
  if actual == nil then
    local length = redis.pcall('LLEN', KEYS[histories + h])
    actual = type(length) == 'number' and length or false
    revisions[h] = actual
  end
  local known, damaged = false, false
  if r > 0 and actual then
    known = mine[h .. ' ' .. ARGV[firsts + r]]
      or redis.pcall('HGET', KEYS[memories + r], ARGV[firsts + r])
    if type(known) == 'table' then actual = false
    elseif known and not string.match(known, '^%d+:%d+$') then known, damaged = false, true end
  end
  beforeOf[a] = false
  if not actual then answers[a] = 'x'
  elseif damaged then answers[a] = 'm'
  elseif known then answers[a] = 'r' .. known
  elseif expected == EXISTS and actual == 0 or expected < EXISTS and expected ~= actual then
    answers[a] = 'c' .. actual
  elseif actual + E > most then answers[a] = 'f' .. actual
  else
    beforeOf[a] = actual
    revisions[h] = actual + E
    accepted = accepted + 1
    if r > 0 then mine[h .. ' ' .. ARGV[firsts + r]] = actual .. ':' .. E end
  end
end

local now = serverNow()
local errors = {}
-- Appends the accepted appends first..last with one entry per part.
local function settle(first, last, parts)
  local id, refused = appendEntries(KEYS[2], KEYS[3], now, parts)
  if not id then return refused end
  for _, part in ipairs(parts) do addTo(KEYS[3], 'stored:' .. part.type, part.count) end
  local tail = text('\34', id)
  local function element(e)
    local t = typeOf[e]
    return before[t] .. string.sub(ARGV[8 + 4 * t], fromOf[e], toOf[e]) .. tail
  end
  for a = first, last do
    local h, r, revision = historyOf[a], rememberedOf[a], beforeOf[a]
    local from, to = lastOf[a - 1] + 1, lastOf[a]
    local key, count = KEYS[histories + h], to - from + 1
    if count == 1 then redis.call('RPUSH', key, element(from))
    else
      for start = from, to, 1000 do
        local elements = {}
        for e = start, math.min(start + 999, to) do elements[#elements + 1] = element(e) end
        redis.call('RPUSH', key, unpack(elements))
      end
    end
    if revision == 0 then
      redis.pcall('ZADD', KEYS[sets + categories[h]], 0, ARGV[ids + h])
    end
    if r > 0 then
      redis.call('HSET', KEYS[memories + r], ARGV[firsts + r], revision .. ':' .. count)
    end
    answers[a] = 'w' .. revision + count
  end
  answers[first] = '@' .. id .. ' ' .. answers[first]
  return nil
end

-- Returns the part of type t with the append's events alone.
local function partOf(a, t, count, crc)
  local from, to
  for e = lastOf[a - 1] + 1, lastOf[a] do
    if typeOf[e] == t then
      from = from or fromOf[e]
      to = toOf[e]
    end
  end
  local bytes = ARGV[8 + 4 * t]
  return {
    key = KEYS[3 + t], type = ARGV[8 + 4 * t - 3], count = string.format('%.0f', count),
    crc = string.format('%.0f', crc),
    bytes = string.sub(bytes, 1, head) .. string.sub(bytes, from, to),
  }
end

local common = accepted == A and A > 0
if common then
  local parts = {}
  for t = 1, T do
    local i = 8 + 4 * t
    parts[t] = {
      key = KEYS[3 + t], type = ARGV[i - 3], count = ARGV[i - 2], crc = ARGV[i - 1], bytes = ARGV[i]
    }
  end
  common = settle(1, A, parts) == nil
end
if not common then
  -- A later append to a history builds on the one before it, and fails if that one fails.
  local failed = {}
  for a = 1, A do
    local h = historyOf[a]
    if failed[h] then answers[a] = failed[h]
    elseif beforeOf[a] then
      local parts, plans = {}, partsOf[a]
      for p = 1, countOfParts[a] do
        local t, count, crc
        t, count, crc, plans = unpackPlan('<I4I4I4', plan, plans)
        parts[p] = partOf(a, t, count, crc)
      end
      local refused = settle(a, a, parts)
      if refused then
        errors[#errors + 1] = refused.err or ('ERR the ids of ' .. refused[2] .. ' are used up')
        answers[a] = 'e' .. #errors
        failed[h] = answers[a]
      end
    end
  end
end

local reply = {'ok', table.concat(answers, ' ')}
for _, err in ipairs(errors) do reply[#reply + 1] = err end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. cjson.encode(reply), 'PX', ARGV[2])
return reply
