-- take: reads the next entries and due retries of lanes of one partition. Each entry's bytes are
-- returned once, however many functions read it. Each lane's own lease fences its read: without
-- the lease, a dispatcher must not move entries into the pending list.
--
-- KEYS
-- 1. per lane: its lease, its due retries
-- 2. then the streams that any of the lanes reads
--
-- ARGV
-- 1. number of lanes
-- 2. TTL of a lease, ms
-- 3. then per lane {lease value, function, consumer, most units with a due retry, COUNT per stream
--    (0: nothing new), number of its streams, streams}
--
-- A stream of a lane is {number of the stream, from 1; id to read after}. The id is '>' for new
-- entries, else own pending entries after that id are read.
--
-- reply {server time in ms, {per stream {its packed entries, large bodies, ...}}, per lane one of
-- - {'stale'}: the lease is not the lane's
-- - {'nogroup', message}
-- - {'error', message}
-- - {'ok', due time of the first unit that is not returned, or ''; {units due}; runs per stream of
--   the lane}
-- }
--
-- Runs are {from, count, from, count, ...}: places, from 0, among the stream's packed entries.
--
-- A packed entry is flags u8, lengths of id u8, n u16, c u16 and b u32, then id, n, c, b. Numbers
-- are little-endian. Flag 1: the entry was deleted while it was pending. Flag 2: b is large, and is
-- next of the stream's large bodies: packing would copy it once more. A field that the producer did
-- not write is empty.
--
-- A lane that fails costs only itself: entries are pending for the others already. Where all lanes
-- fail, the call fails.
--
-- cost  O(entries of all lanes) plus the copy of their bytes
local laneCount, ttl = tonumber(ARGV[1]), ARGV[2]
local firstStream = 2 * laneCount
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))

-- Arguments read so far.
local read = 2
local function take(number)
  read = read + number
  return unpack(ARGV, read - number + 1, read)
end

-- Bytes of a body from which on it is large.
local LARGE = 512

-- Per stream: pieces of its packed entries, their number, its large bodies (from 2 on), its number
-- of entries, their places by id.
local packed, filled, bodies, sizes, places, streamOf = {}, {}, {}, {}, {}, {}
for s = 1, #KEYS - firstStream do
  packed[s], filled[s], bodies[s], sizes[s], places[s] = {}, 0, {''}, 0, {}
  streamOf[KEYS[firstStream + s]] = s
end

-- Heads of entries that have only an id and a small body: by the two lengths. Such entries are one
-- event each and many, and their heads are alike.
local heads = {}

local function pack(s, entry)
  local pieces, at, id, fields = packed[s], filled[s], entry[1], entry[2]
  if not fields then
    pieces[at + 1] = struct.pack('<BBHHI4', 1, #id, 0, 0, 0)
    pieces[at + 2] = id
    filled[s] = at + 2
    return
  end
  local b, n, c = '', '', ''
  for f = 1, #fields, 2 do
    local name = fields[f]
    if name == 'b' then b = fields[f + 1]
    elseif name == 'n' then n = fields[f + 1]
    elseif name == 'c' then c = fields[f + 1] end
  end
  -- A foreign field may have any length. Neither a count nor a checksum is so long.
  if #n > 65535 then n = string.sub(n, 1, 65535) end
  if #c > 65535 then c = string.sub(c, 1, 65535) end
  local large = #b >= LARGE
  if large or n ~= '' or c ~= '' then
    pieces[at + 1] = struct.pack('<BBHHI4', large and 2 or 0, #id, #n, #c, #b)
    pieces[at + 2] = id
    pieces[at + 3] = n
    pieces[at + 4] = c
    at = at + 4
  else
    local lengths = #b * 256 + #id
    local head = heads[lengths]
    if not head then
      head = struct.pack('<BBHHI4', 0, #id, 0, 0, #b)
      heads[lengths] = head
    end
    pieces[at + 1] = head
    pieces[at + 2] = id
    at = at + 2
  end
  if large then bodies[s][#bodies[s] + 1] = b
  else
    at = at + 1
    pieces[at] = b
  end
  filled[s] = at
end

-- Packs what is not packed yet. Returns the places of the entries: {from, count, from, count, ...}.
local function placesOf(s, entries)
  if laneCount == 1 then
    -- Nobody else has read them.
    for i = 1, #entries do pack(s, entries[i]) end
    return {0, #entries}
  end
  local known, size = places[s], sizes[s]
  local runs, last = {}, nil
  for _, entry in ipairs(entries) do
    local at = known[entry[1]]
    if not at then
      at = size
      size = size + 1
      known[entry[1]] = at
      pack(s, entry)
    end
    if last and at == last + 1 then
      runs[#runs] = runs[#runs] + 1
    else
      runs[#runs + 1] = at
      runs[#runs + 1] = 1
    end
    last = at
  end
  sizes[s] = size
  return runs
end

local function takeFor(keys, who, limit, count, wanted)
  local due = keys.due
  if redis.call('GET', keys.lease) ~= who.value then return {'stale'} end
  redis.call('PEXPIRE', keys.lease, ttl)
  local units = {}
  if limit > 0 then units = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, limit) end
  local first = redis.call('ZRANGE', due, #units, #units, 'WITHSCORES')
  local nextDue = first[2] or ''
  if nextDue == 'inf' then nextDue = '' end -- held: see commit.lua
  local reply = {'ok', nextDue, units}
  local streamCount = #wanted / 2
  for i = 1, streamCount do reply[3 + i] = {} end
  if streamCount == 0 or count == '0' then return reply end
  local command = {'XREADGROUP', 'GROUP', who.fn, who.consumer, 'COUNT', count, 'STREAMS'}
  local mine = {}
  for i = 1, streamCount do
    local s = tonumber(wanted[2 * i - 1])
    command[7 + i] = KEYS[firstStream + s]
    command[7 + streamCount + i] = wanted[2 * i]
    mine[s] = 3 + i
  end
  local found = redis.pcall(unpack(command))
  if not found then return reply end
  if found.err then
    if string.find(found.err, '^NOGROUP') then return {'nogroup', found.err} end
    error(found)
  end
  for _, stream in ipairs(found) do
    local s = streamOf[stream[1]]
    reply[mine[s]] = placesOf(s, stream[2])
  end
  return reply
end

local replies, failed = {now, {}}, 0
for lane = 1, laneCount do
  local value, fn, consumer, limit, count, streamCount = take(6)
  local wanted = {take(2 * tonumber(streamCount))}
  local keys = {lease = KEYS[2 * lane - 1], due = KEYS[2 * lane]}
  local who = {value = value, fn = fn, consumer = consumer}
  local ok, reply = pcall(takeFor, keys, who, tonumber(limit), count, wanted)
  if not ok then
    failed = failed + 1
    reply = {'error', type(reply) == 'table' and reply.err or tostring(reply)}
  end
  replies[2 + lane] = reply
end
-- It is the server that fails, not a lane: the connection has to know.
if failed == laneCount then return redis.error_reply(replies[3][2]) end
for s = 1, #packed do
  bodies[s][1] = table.concat(packed[s])
  replies[2][s] = bodies[s]
end
return replies
