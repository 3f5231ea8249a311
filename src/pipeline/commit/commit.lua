-- commit: everything that turns of lanes of one partition caused. Each lane's turn is written in
-- one step, or not at all.
--
-- KEYS and ARGV: those of each lane, lane by lane. Then ARGV has
-- 1. with several lanes: the number of keys and of arguments of each
-- 2. the number of lanes
--
-- reply: the replies of the lanes. That of a lane that has failed is {'error', message}. Where all
-- lanes have failed, the call fails.
--
-- KEYS of a lane
-- 1. lease
-- 2. counters
-- 3. due
-- 4. dead letters
-- 5. held
-- 6. arrived
-- 7. then the streams of the types
-- 8. then the parked lists of the units
-- 9. then the keys of the effects
-- 10. then, with dead letters, their groups
-- 11. then, with emitted events: clock, outbox, scheduled (zset), scheduled events (hash), streams
--     of the emitted types
-- 12. then, with an inbox, its two sets
--
-- ARGV of a lane
-- 1. lease value
-- 2. TTL, ms
-- 3. function
-- 4. turn id; behind a space the lane's turn that was committed before, if there is one
-- 5. number of types
-- 6. number of units
-- 7. number of entries
-- 8. number of parked events
-- 9. number of dead letters
-- 10. number of units retried
-- 11. number of blocks of effects
-- 12. number of types emitted to this partition
-- 13. number of blocks of emitted events
-- 14. most scheduled events of a partition
-- 15. number of keys before those of emitted events
-- 16. consumer of a function with ordering 'none'; '' with ordering 'key', whose lane has only one
--
-- Then, as many of each as was said:
-- - types, in the order of the streams
-- - units, in the order of the lists
-- - emitted types
-- - blocks of emitted events, see src/core/emitted.ts
-- - entries, in runs: {number of the stream, from 1; events done of each entry; number of entries;
--   their ids}
-- - parked events: {unit, from 1; entry, from 1; delay; ParkedEvent bytes}
-- - dead letters: {entry, from 1, or 0; type; events; unit that it holds, from 1, or 0;
--   fingerprint; about; number of fields; field, value, ...}. Entry 0 is a retry. `about` describes
--   the group, and is '' where an earlier letter has it. The type may be one that is no longer
--   consumed
-- - units retried: {unit, from 1; records taken off the head; number of settled; of each settled
--   its type and end; new head bytes or ''; delay}. The end is 'done', 'skipped' or 'dead'
-- - where it changes: 'running', value of `running:<function>` from now on ('-': none;
--   src/pipeline/lane/in-flight.ts)
-- - with an inbox: 'inbox', window in ms, most ids of a set, number of groups, groups. A group:
--   {entry, from 1, or 0 (retries); events skipped; number of settled; their identities
--   (src/wire/event-identity.ts)}
-- - for each unit retried, the records in hand: '<unit, from 1> <number of records> <SHA-1 of the
--   first> <SHA-1 of the last>'; '': there are none
-- - blocks of effects, done in order: see src/core/effects.ts
--
-- A delay is one of
-- - ms to the next attempt
-- - 'wait:<ms>': no attempt was made
-- - '': a parked event waits behind the head of its list, a retried head is due now
--
-- reply of a lane, one of
-- - {'ok', server time in ms, next due or '', missing, emptied, outbox, unwritten}
--   - missing: {ids of entries that were not pending}
--   - emptied: {units whose list is empty now}
--   - outbox: {entries, bytes} of the outbox, or '' where nothing was put there
--   - unwritten: {keys of indexes that are of another type, and so were not written}
-- - {'stale'}: the lane is no longer the owner's
-- - {'repeat', next due or ''}: the turn was committed before
-- - {'back'}: Redis no longer knows the turn before, or a parked list no longer begins with the
--   records in hand
-- - {'refused', {ids of entries that are not pending}}: nothing is written. A turn with effects, or
--   one that parks events of several types, is written as a whole or not at all
-- - {'foreign', unit}: the key of the unit's parked list is of another type
-- - {'full'}: the schedule has no room for the emitted events
-- - {'exhausted', key of a stream}: the stream has no id left above its last one
--
-- Only 'ok' has written anything.
--
-- The lease and the turn id are the fence: the same commit sent again changes nothing.
-- - An entry's events count only if the entry was still pending. With ordering 'none' other
--   consumers read the same streams, and the entry must be pending for this consumer.
-- - The lease (holds-lease.lua) and XACK come first: both work under OOM, and make the rest of the
--   script work there, too.
-- - A held unit stays in `due` at +inf, with a list or without. Nothing of it runs until its dead
--   letter is replayed or purged.
-- - An inbox remembers an id for one to two windows. Its two sets take turns: slot s = time /
--   window has its set until slot s + 2 begins.
--
-- cost  O(entries + parked + dead + settled + ids + emitted flushes and scheduled events)
-- The steps are one body: as local functions they cost 10 to 15 us more a commit.

local function commitLane(KEYS, ARGV)
-- Step: judge the lease and the turn.
local fn, owner = ARGV[3], ARGV[16]
local lane = fn .. ((owner == '' or owner == 'lane') and '' or '#' .. owner)
if not holdsLease(KEYS[1], KEYS[2], lane, ARGV[1], ARGV[2]) then return {'stale'} end
local function nextDue()
  local score = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2] or ''
  return score == 'inf' and '' or score
end
local turn, before = string.match(ARGV[4], '^(%S*) ?(%S*)$')
local turnField = 'turn:' .. lane
local last = redis.call('HGET', KEYS[2], turnField)
if last == turn then return {'repeat', nextDue()} end
-- After a power loss or a failover, Redis has forgotten the time in which this turn took its
-- events.
if before ~= '' and last ~= before then return {'back'} end

local now = serverNow()
local typeCount, unitCount, entryCount = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local parkCount, letterCount, retryCount = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local effectCount = tonumber(ARGV[11])
local emittedTypeCount, emittedCount = tonumber(ARGV[12]), tonumber(ARGV[13])
-- Number of keys before the parked lists, and before the keys of effects.
local lists = 6 + typeCount
local effectKeys = lists + unitCount

-- Number of arguments read so far. Each step reads its own, in the order of the header.
local read = 16
-- Returns the next arguments, each as a value. Not for entries, which are many.
local function take(number)
  read = read + number
  return unpack(ARGV, read - number + 1, read)
end
local types, units = {}, {}
for i = 1, typeCount do types[i] = ARGV[read + i] end
read = read + typeCount
for i = 1, unitCount do units[i] = ARGV[read + i] end
read = read + unitCount
local emitted = read
read = read + emittedTypeCount + emittedCount

local sums = {}
local function count(state, t, by)
  local field = state .. ':' .. fn .. ':' .. t
  sums[field] = (sums[field] or 0) + by
end

local function pending(key, id)
  local found
  if owner == '' then found = redis.pcall('XPENDING', key, fn, id, id, 1)
  else found = redis.pcall('XPENDING', key, fn, id, id, 1, owner) end
  return not found.err and #found == 1
end

-- Step: check the effects and the entries, before the first write.
-- Where one type's group was destroyed, its entries are read again. No event of the other types may
-- be parked in front of them.
-- An index whose key is of another type is left out, and the reply names it.
local blocks, noIndex, unwritten = {}, {}, {}
if effectCount > 0 or emittedCount > 0 or (parkCount > 0 and typeCount > 1) then
  local gone, several, checked, at = {}, false, 0, read
  while checked < entryCount do
    local stream, size = ARGV[at + 1], tonumber(ARGV[at + 3])
    several = several or stream ~= ARGV[read + 1]
    local key = KEYS[6 + tonumber(stream)]
    for i = at + 4, at + 3 + size do
      if not pending(key, ARGV[i]) then gone[#gone + 1] = ARGV[i] end
    end
    checked, at = checked + size, at + 3 + size
  end
  if #gone > 0 and (effectCount > 0 or emittedCount > 0 or several) then
    return {'refused', gone}
  end
  for f = 1, effectCount do
    local steps = cmsgpack.unpack(ARGV[#ARGV - effectCount + f])
    local s = 1
    while s <= #steps do
      local name = steps[s]
      if name == 'add' or name == 'remove' then
        local key = KEYS[effectKeys + steps[s + 2]]
        local kind = redis.call('TYPE', key).ok
        if kind ~= 'zset' and kind ~= 'none' and not noIndex[key] then
          noIndex[key] = true
          unwritten[#unwritten + 1] = key
        end
      elseif name ~= 'set' and name ~= 'del' then
        return redis.error_reply('ERR unknown effect ' .. tostring(name))
      end
      s = s + 2 + steps[s + 1]
    end
    blocks[f] = steps
  end
end

-- Step: check the types of the keys. A wrong one fails here, before anything is written. The reply
-- names a parked list's key, for the caller to set it aside.
if parkCount + letterCount + retryCount > 0 then
  redis.call('ZCARD', KEYS[3])
  redis.call('XLEN', KEYS[4])
  redis.call('HLEN', KEYS[5])
  for u = 1, unitCount do
    local kind = redis.call('TYPE', KEYS[lists + u]).ok
    if kind ~= 'list' and kind ~= 'none' then return {'foreign', units[u]} end
  end
end

-- Step: check the records in hand. Other owners write parked lists, too: consumers with ordering
-- 'none', and replays. A Redis that has gone back in time may have forgotten their records, and
-- still know the turn before. Such an event is pending again, or dead: it must not be settled here.
local function holdsRecord(list, at, digest)
  local record = redis.call('LINDEX', list, at)
  return record and redis.sha1hex(record) == digest
end
for i = 1, retryCount do
  local u, size, first, last = string.match(
    ARGV[#ARGV - effectCount - retryCount + i], '^(%d+) (%d+) (%x+) (%x+)$'
  )
  if u then
    local list = KEYS[lists + tonumber(u)]
    if not holdsRecord(list, 0, first) then return {'back'} end
    if size ~= '1' and not holdsRecord(list, tonumber(size) - 1, last) then return {'back'} end
  end
end

-- Step: emit. It comes early, so that it can be taken back where a stream refuses an event.
local outbox = ''
if emittedCount > 0 then
  -- Where the user may not acknowledge, the call fails here, before anything is emitted.
  if typeCount > 0 then redis.call('XACK', KEYS[7], fn, '0-0') end
  local k, streams, packed = tonumber(ARGV[15]) + 4, {}, {}
  for i = 1, emittedTypeCount do streams[ARGV[emitted + i]] = KEYS[k + i] end
  for i = 1, emittedCount do packed[i] = ARGV[emitted + emittedTypeCount + i] end
  local keys = {
    counters = KEYS[2],
    clock = KEYS[k - 3],
    outbox = KEYS[k - 2],
    scheduled = KEYS[k - 1],
    records = KEYS[k],
  }
  local refused
  outbox, refused = emitEvents(keys, streams, packed, tonumber(ARGV[14]), now)
  if not outbox then return refused end
end

-- Step: acknowledge.
local missing, acked, entryType, at, entry = {}, {}, {}, {}, 0
while entry < entryCount do
  local t, done, size = tonumber(ARGV[read + 1]), tonumber(ARGV[read + 2]), tonumber(ARGV[read + 3])
  local key, settled = KEYS[6 + t], 0
  for i = read + 4, read + 3 + size do
    local id = ARGV[i]
    entry = entry + 1
    entryType[entry] = types[t]
    -- One by one: the reply to several does not say which of them were pending.
    if (owner == '' or pending(key, id)) and redis.call('XACK', key, fn, id) == 1 then
      acked[entry] = id
      -- A lost group is created anew at this id, and so before every event without an outcome.
      at[types[t]] = id
      settled = settled + 1
    else
      missing[#missing + 1] = id
    end
  end
  if settled * done > 0 then count('done', types[t], settled * done) end
  read = read + 3 + size
end
redis.call('HSET', KEYS[2], turnField, turn)

-- Step: apply the effects.
for _, steps in ipairs(blocks) do
  local s = 1
  while s <= #steps do
    local name, n = steps[s], steps[s + 1]
    local command
    if (name == 'add' or name == 'remove') and noIndex[KEYS[effectKeys + steps[s + 2]]] then
      -- This index is left out.
    elseif name == 'set' then
      command = {'MSET'}
      for i = s + 2, s + n, 2 do
        command[#command + 1] = KEYS[effectKeys + steps[i]]
        command[#command + 1] = steps[i + 1]
      end
    elseif name == 'del' then
      command = {'UNLINK'}
      for i = s + 2, s + 1 + n do command[#command + 1] = KEYS[effectKeys + steps[i]] end
    elseif name == 'add' then
      command = {'ZADD', KEYS[effectKeys + steps[s + 2]]}
      for i = s + 3, s + 1 + n do
        command[#command + 1] = '0'
        command[#command + 1] = steps[i]
      end
    else
      command = {'ZREM', KEYS[effectKeys + steps[s + 2]]}
      for i = s + 3, s + 1 + n do command[#command + 1] = steps[i] end
    end
    if command then redis.call(unpack(command)) end
    s = s + 2 + n
  end
end

-- Returns a delay in ms, and whether it follows an attempt.
local function delayOf(text)
  local ms = string.match(text, '^wait:(%d+)$')
  if ms then return tonumber(ms), false end
  return tonumber(text) or 0, text ~= ''
end

-- Step: park.
local retried, noted = 0, {}
for _ = 1, parkCount do
  local unit, entry, delay, bytes = take(4)
  local u, e = tonumber(unit), tonumber(entry)
  if acked[e] then
    local length = redis.call('RPUSH', KEYS[lists + u], bytes)
    count('parked', entryType[e], 1)
    local ms, attempt = delayOf(delay)
    if attempt then retried = retried + 1 end
    -- A list that was there already keeps its due time, which its head decides. A held unit without
    -- a list stays held.
    local arrival = string.match(acked[e], '^%d+')
    if length == 1 then
      local new = redis.call('ZADD', KEYS[3], 'NX', string.format('%.0f', now + ms), units[u])
      noteFirst(KEYS[6], units[u], arrival, new == 0)
    elseif not noted[u] then noteBehind(KEYS[6], units[u], arrival) end
    -- Later events of this turn are younger.
    noted[u] = true
  end
end

-- Step: dead-letter.
local held, found = {}, {}
for _ = 1, letterCount do
  local entry, t, events, unit, fingerprint, about, size = take(7)
  local e, holds, fields = tonumber(entry), tonumber(unit), tonumber(size)
  noteLetter(found, fingerprint, about, false)
  if e == 0 or acked[e] then
    local command = {'XADD', KEYS[4], '*'}
    for f = 1, fields do command[f + 3] = ARGV[read + f] end
    local letter = redis.call(unpack(command))
    count('dead', t, tonumber(events))
    noteLetter(found, fingerprint, '', letter)
    if holds > 0 then
      held[holds] = true
      redis.call('HSET', KEYS[5], units[holds], letter)
      redis.call('ZADD', KEYS[3], '+inf', units[holds])
    end
  end
  read = read + fields
end
if letterCount > 0 then countLetters(KEYS[tonumber(ARGV[15])], found, now) end

-- Step: settle the retries.
local emptied = {}
for _ = 1, retryCount do
  local number, taken, settled = take(3)
  local u = tonumber(number)
  local list, unit = KEYS[lists + u], units[u]
  for _ = 1, tonumber(settled) do
    local t, how = take(2)
    count('parked', t, -1)
    if how ~= 'dead' then count('done', t, 1) end
    if how == 'skipped' then count('skipped', t, 1) end
  end
  if tonumber(taken) > 0 then redis.call('LTRIM', list, taken, -1) end
  local head, delay = take(2)
  if held[u] then
    -- The unit waits for its dead letter.
  elseif redis.call('EXISTS', list) == 0 then
    redis.call('ZREM', KEYS[3], unit)
    noteGone(KEYS[6], unit)
    emptied[#emptied + 1] = unit
  else
    if tonumber(taken) > 0 then noteHead(KEYS[6], unit, list, false) end
    local ms, attempt = delayOf(delay)
    if head ~= '' then
      redis.call('LSET', list, 0, head)
      if attempt then retried = retried + 1 end
    end
    redis.call('ZADD', KEYS[3], string.format('%.0f', now + ms), unit)
  end
end
for u in pairs(held) do noteHead(KEYS[6], units[u], KEYS[lists + u], true) end

-- Step: note the handlers that run beside the lane's turns.
if ARGV[read + 1] == 'running' then
  local _, text = take(2)
  if text == '-' then redis.call('HDEL', KEYS[2], 'running:' .. fn)
  else redis.call('HSET', KEYS[2], 'running:' .. fn, text) end
end

-- Step: remember, in an inbox.
if ARGV[read + 1] == 'inbox' then
  local _, window, most, groups = take(4)
  local slot = math.floor(now / window)
  local set = KEYS[#KEYS - 1 + slot % 2]
  -- pcall: where the key is no set, nothing is remembered.
  local size = redis.pcall('SCARD', set)
  local room, over = type(size) == 'number' and most - size or 0, 0
  for _ = 1, tonumber(groups) do
    local entry, skipped, ids = take(3)
    local e = tonumber(entry)
    skipped, ids = tonumber(skipped), tonumber(ids)
    if e == 0 or acked[e] then
      if skipped > 0 then count('skipped', entryType[e], skipped) end
      local fitting = math.max(0, math.min(ids, room))
      for from = 1, fitting, 500 do
        redis.call('SADD', set, unpack(ARGV, read + from, read + math.min(fitting, from + 499)))
      end
      room, over = room - fitting, over + ids - fitting
    end
    read = read + ids
  end
  redis.call('PEXPIREAT', set, string.format('%.0f', (slot + 2) * window))
  if over > 0 then addTo(KEYS[2], 'unremembered:' .. fn, over) end
end

-- Step: count.
for field, by in pairs(sums) do addTo(KEYS[2], field, by) end
if retried > 0 then addTo(KEYS[2], 'retried:' .. fn, retried) end
-- Step: note how far the function is. Every entry up to this one is settled. With ordering 'none',
-- however, other consumers may still have earlier entries pending.
local function parts(id)
  local dash = string.find(id, '-', 1, true)
  return tonumber(string.sub(id, 1, dash - 1)), tonumber(string.sub(id, dash + 1))
end
for i = 1, typeCount do
  local t, field = types[i], 'at:' .. fn .. ':' .. types[i]
  local id = at[t]
  if id and owner ~= '' then
    local lowest = redis.pcall('XPENDING', KEYS[6 + i], fn)
    local ms, seq = parts(id)
    if lowest.err then id = nil
    elseif lowest[1] > 0 then
      ms, seq = parts(lowest[2])
      if ms >= 9007199254740991 or seq >= 9007199254740991 then id = nil
      elseif seq > 0 then id = string.format('%.0f-%.0f', ms, seq - 1)
      else id = string.format('%.0f-18446744073709551615', math.max(0, ms - 1)) end
    else
      local before = redis.call('HGET', KEYS[2], field)
      if before then
        local beforeMs, beforeSeq = parts(idOf(before))
        if beforeMs > ms or (beforeMs == ms and beforeSeq > seq) then id = nil end
      end
    end
  end
  if id then redis.call('HSET', KEYS[2], field, id) end
end

return {'ok', string.format('%.0f', now), nextDue(), missing, emptied, outbox, unwritten}
end

local lanes = tonumber(table.remove(ARGV))
-- Without a copy of its arguments.
if lanes == 1 then
  local reply = commitLane(KEYS, ARGV)
  return reply.err and reply or {reply}
end

local sizes = #ARGV - 2 * lanes
local replies, failed, key, arg = {}, 0, 0, 0
for lane = 1, lanes do
  local keys, args = {}, {}
  for i = 1, tonumber(ARGV[sizes + 2 * lane - 1]) do keys[i] = KEYS[key + i] end
  for i = 1, tonumber(ARGV[sizes + 2 * lane]) do args[i] = ARGV[arg + i] end
  key, arg = key + #keys, arg + #args
  local ok, reply = pcall(commitLane, keys, args)
  local message = not ok and (type(reply) == 'table' and reply.err or tostring(reply)) or reply.err
  if message then
    failed = failed + 1
    reply = {'error', message}
  end
  replies[lane] = reply
end
-- It is the server that fails, not a lane: the connection has to know.
if failed == lanes then return redis.error_reply(replies[1][2]) end
return replies
