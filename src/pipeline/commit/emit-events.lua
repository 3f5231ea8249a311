-- emit-events: writes the events that a turn's events have emitted (src/core/emitted.ts).
-- defineScript's `with` puts this file in front of commit.lua.

-- Puts emitted events into streams, schedule and outbox.
-- - keys: clock, counters, outbox, scheduled, records
-- - streams: key by type
-- Returns
-- - the size of the outbox {entries, bytes}, or '' where nothing was put there, or
-- - nil and the reply of the script. Nothing has changed then.
local function emitEvents(keys, streams, blocks, mostScheduled, now)
  local flushes, waiting, away = {}, 0, false
  for _, block in ipairs(blocks) do
    local list, i = cmsgpack.unpack(block), 1
    while i <= #list do
      local flush = {to = list[i] - 1, size = list[i + 1], parts = {}, scheduled = {}}
      local parts = list[i + 2]
      i = i + 3
      for p = 1, parts do
        flush.parts[p] = {
          key = streams[list[i]], type = list[i], count = list[i + 1], crc = list[i + 2],
          bytes = list[i + 3]
        }
        i = i + 4
      end
      local scheduled = list[i]
      i = i + 1
      for s = 1, scheduled do
        flush.scheduled[s] = {
          id = list[i], delay = list[i + 1], ms = list[i + 2], type = list[i + 3],
          bytes = list[i + 4]
        }
        i = i + 5
      end
      flushes[#flushes + 1] = flush
      if flush.to >= 0 then away = true else waiting = waiting + scheduled end
    end
  end

  -- Obstacles are found before anything is written.
  if waiting > 0 then
    if redis.call('ZCARD', keys.scheduled) + waiting > mostScheduled then return nil, {'full'} end
    redis.call('HLEN', keys.records)
  end
  if away then redis.call('XLEN', keys.outbox) end
  local done = {}
  for _, flush in ipairs(flushes) do
    if flush.to < 0 and #flush.parts > 0 then
      local id, refused = appendEntries(keys.clock, keys.counters, now, flush.parts)
      if not id then
        for _, before in ipairs(done) do
          for _, part in ipairs(before.parts) do
            redis.call('XDEL', part.key, before.id)
            addTo(keys.counters, 'appended:' .. part.type, -part.count)
            addTo(keys.counters, 'entries:' .. part.type, -1)
          end
        end
        return nil, refused
      end
      done[#done + 1] = {id = id, parts = flush.parts}
    end
  end

  local bytes = 0
  for _, flush in ipairs(flushes) do
    if flush.to < 0 then
      for _, event in ipairs(flush.scheduled) do
        local due = tonumber(event.ms)
        if event.delay == '1' then due = now + due end
        scheduleEvent(
          keys.scheduled, keys.records, keys.counters, event.id, due, event.type, event.bytes
        )
      end
    else
      -- Fields: see src/outbox/outbox-entry.ts.
      local command = {'XADD', keys.outbox, '*', 'to', flush.to, 'size', flush.size}
      for _, part in ipairs(flush.parts) do
        local fields = {'type', part.type, 'n', part.count, 'c', part.crc, 'b', part.bytes}
        for _, word in ipairs(fields) do command[#command + 1] = word end
      end
      for _, event in ipairs(flush.scheduled) do
        local when = event.delay .. ' ' .. event.ms .. ' ' .. event.type .. ' ' .. event.id
        for _, word in ipairs({'when', when, 'event', event.bytes}) do
          command[#command + 1] = word
        end
      end
      redis.call(unpack(command))
      bytes = bytes + flush.size
    end
  end
  if not away then return '' end
  return {redis.call('XLEN', keys.outbox), addTo(keys.counters, 'outbox', bytes)}
end

