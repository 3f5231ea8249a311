-- freshness: how far a view's lane in this partition is behind. Put in front of a script by defineScript's `with`.

-- server time in ms, events of its types that are not folded yet (parked ones included), then per type the last entry id passed or ''
local function freshness(counters, fn, types)
  local time = redis.call('TIME')
  local behind = 0
  -- what comes from the histories is not there before all of it is (src/views/history-pass.ts)
  local building = redis.call('HEXISTS', counters, 'pass:' .. fn) == 1
  local reply = {string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)), ''}
  for i, t in ipairs(types) do
    local own = ':' .. fn .. ':' .. t
    local n = redis.call('HMGET', counters, 'appended:' .. t, 'base' .. own, 'done' .. own, 'dead' .. own, 'purged' .. own, 'at' .. own)
    if building then n[2], n[6] = '0', '' end
    behind = behind + countOf(n[1]) - countOf(n[2]) - countOf(n[3]) - countOf(n[4]) - countOf(n[5])
    reply[i + 2] = n[6] or ''
  end
  reply[2] = string.format('%.0f', behind)
  return reply
end
