-- freshness: how far a view's lane in this partition is behind. Put in front of scripts by
-- defineScript's `with`.

-- Returns the server time in ms, the number of events that are not folded yet, and per type the
-- last entry id passed or ''. Parked events count as not folded.
local function freshness(counters, fn, types)
  local time = redis.call('TIME')
  local behind = 0
  -- Rows built from histories count only when all are built (src/views/history-pass.ts).
  local building = redis.call('HEXISTS', counters, 'pass:' .. fn) == 1
  local reply = {
    string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)), ''
  }
  for i, t in ipairs(types) do
    local own = ':' .. fn .. ':' .. t
    local n = redis.call(
      'HMGET', counters, 'appended:' .. t, 'base' .. own, 'done' .. own, 'dead' .. own,
      'purged' .. own, 'at' .. own
    )
    if building then n[2], n[6] = '0', '' end
    behind = behind + countOf(n[1]) - countOf(n[2]) - countOf(n[3]) - countOf(n[4]) - countOf(n[5])
    reply[i + 2] = n[6] or ''
  end
  reply[2] = string.format('%.0f', behind)
  return reply
end
