-- relay: appends flushes from the outbox of another partition to this partition, in their order,
-- each in one step.
--
-- KEYS
-- 1. relayed (hash)
-- 2. clock
-- 3. counters
-- 4. scheduled (zset)
-- 5. scheduled events (hash)
-- 6. then T streams
--
-- ARGV
-- 1. source partition
-- 2. most scheduled events of a partition
-- 3. T
-- 4. F
-- 5. then T types, in the order of the streams
-- 6. then F flushes: id of the outbox entry, P, P parts, S, S scheduled events
--
-- A part is {stream 1..T, number of events, CRC-32, EventBatch bytes}. A scheduled event is {id,
-- due in ms, type, Event message}.
--
-- Returns
-- 1. number of the flushes that are here now
-- 2. reason for the end: '' | 'full' | an error
-- 3. number of the flushes that were here before
--
-- The source partition is the producer, and the id of the outbox entry is its sequence. An entry up
-- to the last relayed id is here already. So any number of relays may send the same entries, at any
-- time. Each relay must send a source's entries in the order of the outbox, from the first one on.
--
-- The hash has a field for each source partition, and no expiry: a relay may stand still for any
-- time.
--
-- Under OOM the first write fails, and nothing is done.
--
-- Cost: O(events scheduled + flushes), plus the copy of the bytes.
local T, F = tonumber(ARGV[3]), tonumber(ARGV[4])
local function numbers(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local lastMs, lastSeq = -1, -1
local last = redis.call('HGET', KEYS[1], ARGV[1])
-- A text that is no id tells nothing: all entries of the source are appended.
if last and idOf(last) == last then lastMs, lastSeq = numbers(last) end

local now = serverNow()
local a, here, before = 4 + T, 0, 0
for _ = 1, F do
  local id, P = ARGV[a + 1], tonumber(ARGV[a + 2])
  a = a + 2
  local parts = {}
  for i = 1, P do
    local t = tonumber(ARGV[a + 1])
    parts[i] = {
      key = KEYS[5 + t], type = ARGV[4 + t], count = ARGV[a + 2], crc = ARGV[a + 3],
      bytes = ARGV[a + 4]
    }
    a = a + 4
  end
  local S = tonumber(ARGV[a + 1])
  a = a + 1
  local ms, seq = numbers(id)
  if ms < lastMs or (ms == lastMs and seq <= lastSeq) then before = before + 1
  else
    if S > 0 then
      if redis.call('ZCARD', KEYS[4]) + S > tonumber(ARGV[2]) then return {here, 'full', before} end
      -- A key of another type makes this call fail before anything is written.
      redis.call('HLEN', KEYS[5])
    end
    if P > 0 then
      local entry, refused = appendEntries(KEYS[2], KEYS[3], now, parts)
      if not entry then
        return {here, refused.err or ('the ids of ' .. refused[2] .. ' are used up'), before}
      end
    end
    for i = 0, S - 1 do
      scheduleEvent(
        KEYS[4], KEYS[5], KEYS[3], ARGV[a + 4 * i + 1], tonumber(ARGV[a + 4 * i + 2]),
        ARGV[a + 4 * i + 3], ARGV[a + 4 * i + 4]
      )
    end
    redis.call('HSET', KEYS[1], ARGV[1], id)
    lastMs, lastSeq = ms, seq
  end
  here = here + 1
  a = a + 4 * S
end
return {here, '', before}
