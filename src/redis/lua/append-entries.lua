-- append-entries: the only way of events into the streams of a partition. defineScript's `with`
-- puts this file in front of a script.

local function serverNow()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Judges a sequence of a producer: 1, 2, ... The producer's key holds `<last sequence>:<its
-- answer>`.
-- Returns
-- - nil for the next sequence,
-- - the answer of the first time for the last sequence, sent again,
-- - nil and the expected sequence for any other.
local function knownFlush(key, sequence, ttl)
  local previous = redis.call('GET', key)
  if not previous then
    if sequence ~= 1 then return nil, '1' end
    return nil
  end
  local last, answer = string.match(previous, '^(%d+):(.*)$')
  last = tonumber(last)
  -- Somebody else has written this key: the last sequence is not known.
  if not last then return nil, '0' end
  if sequence == last then
    -- This is a write. A WAIT or WAITAOF behind it thus waits for the data of the first time, too.
    redis.call('PEXPIRE', key, ttl)
    return answer
  end
  if sequence ~= last + 1 then return nil, string.format('%.0f', last + 1) end
  return nil
end

-- Adds one entry per part {key, type, count, crc, bytes}, all under the partition's next id, and
-- counts their events (docs/design.md).
-- Returns
-- - the id, or
-- - nil and the reply of the script: {'exhausted', key} or Redis' own error. Nothing has changed
--   then.
-- The first write is one that Redis refuses under OOM.
local function appendEntries(clock, counters, now, parts)
  local ms, seq = now, 0
  local last = redis.call('HMGET', clock, 'ms', 'seq')
  -- A field that is no number is set anew: each stream refuses an id below its last one.
  if countOf(last[1]) >= ms then
    ms = countOf(last[1])
    seq = countOf(last[2]) + 1
  end
  local function id() return string.format('%.0f-%.0f', ms, seq) end

  local ordinals = {}
  for i, part in ipairs(parts) do
    ordinals[i] = addTo(counters, 'appended:' .. part.type, part.count)
  end
  -- A stream refuses an "equal or smaller" id, where a foreign producer is ahead. Then this returns
  -- false, the number of streams that had taken the id already, and the error.
  local function add()
    for i, part in ipairs(parts) do
      local reply = redis.pcall(
        'XADD', part.key, id(), 'b', part.bytes, 'n', part.count, 'c', part.crc, 'o', ordinals[i]
      )
      if type(reply) == 'table' and reply.err then return false, i - 1, reply.err end
    end
    return true
  end
  local function undo(upto)
    for i = 1, upto do redis.call('XDEL', parts[i].key, id()) end
  end
  local function uncount()
    for _, part in ipairs(parts) do
      addTo(counters, 'appended:' .. part.type, -tonumber(part.count))
    end
  end

  local added, upto, err = add()
  if not added then
    undo(upto)
    -- Step above the last id of every stream.
    for _, part in ipairs(parts) do
      if redis.call('EXISTS', part.key) == 1 then
        local info = redis.pcall('XINFO', 'STREAM', part.key)
        if info.err then
          uncount()
          return nil, redis.error_reply(info.err)
        end
        for j = 1, #info, 2 do
          if info[j] == 'last-generated-id' then
            local dash = string.find(info[j + 1], '-', 1, true)
            local lastMs = tonumber(string.sub(info[j + 1], 1, dash - 1))
            local lastSeq = tonumber(string.sub(info[j + 1], dash + 1))
            if lastSeq >= 9007199254740991 then lastMs = lastMs + 1; lastSeq = -1 end
            if lastMs >= 9007199254740991 then
              uncount()
              return nil, {'exhausted', part.key}
            end
            if lastMs > ms or (lastMs == ms and lastSeq >= seq) then
              ms = lastMs
              seq = lastSeq + 1
            end
          end
        end
      end
    end
    added, upto, err = add()
    if not added then
      undo(upto)
      uncount()
      return nil, redis.error_reply(err)
    end
  end

  for _, part in ipairs(parts) do addTo(counters, 'entries:' .. part.type, 1) end
  redis.call('HSET', clock, 'ms', string.format('%.0f', ms), 'seq', string.format('%.0f', seq))
  return id()
end

