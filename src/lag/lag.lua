-- lag: measures the states of every function of one partition, at one moment. Reads only.
-- With src/redis/lua/entries.lua in front.
--
-- KEYS
-- 1. counters
-- 2. then a stream for each pair of function and type
--
-- ARGV
-- 1. most pending entries to add up, for each pair
-- 2. most undelivered entries to add up, for each pair
-- 3. then for each pair: function, type, and four values on its foreign entries
--
-- The four values describe foreign entries that nobody has adopted, as count-foreign.lua found
-- them:
-- - id at which the adoption ended; '' where nobody has looked
-- - entries
-- - events
-- - last id looked at
--
-- Returns the server time in ms, and for each pair
-- 1. group: 1, or 0 where the consumer group is gone
-- 2. even: 1, or 0 where foreign entries wait for their adoption
-- 3. appended
-- 4. base
-- 5. done
-- 6. dead
-- 7. purged
-- 8. parked
-- 9. pending events
-- 10. pending exact: 1, or 0 where ARGV 1 bounded the sum
-- 11. lag
-- 12. lag exact: 1, or 0 where ARGV 2 bounded the sum
-- 13. first pending entry id
-- 14. first undelivered entry id
-- 15. skipped (part of done)
--
-- Lag comes from ordinals (`o`), never as a remainder, so that the caller's sum is a true check. An
-- `o` is reliable behind `exact:<type>`. Up to there entries are added up one by one.
--
-- Cost: O(pending entries + undelivered entries up to `exact:<type>`) for each pair, each with its
-- bytes. ARGV bounds both.
local time = redis.call('TIME')
local reply = {
  string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
}
local pendingLimit, lagLimit = tonumber(ARGV[1]), tonumber(ARGV[2])
local PAGE = 64
local function whole(x) return string.format('%.0f', x) end

local function pendingOf(stream, fn)
  local events, entries, from, first = 0, 0, '-', ''
  while entries < pendingLimit do
    local page = redis.call(
      'XPENDING', stream, fn, from, '+', math.min(PAGE, pendingLimit - entries)
    )
    for i = 1, #page do
      if first == '' then first = page[i][1] end
      local entry = redis.call('XRANGE', stream, page[i][1], page[i][1])[1]
      -- A deleted entry counts as one event: it will be dead-lettered as one.
      events = events + (entry and measure(entry) or 1)
      entries = entries + 1
    end
    if #page < PAGE then break end
    from = '(' .. page[#page][1]
  end
  return events, entries, first
end

-- Counts the events behind `after`: one by one where ordinals are not exact, by subtraction from
-- the first exact ordinal on.
local function undelivered(stream, after, exact, appended)
  local events, entries, first, cursor = 0, 0, '', after
  while true do
    -- The first entry's ordinal usually gives the count. So read one entry first.
    local size = entries == 0 and 1 or math.min(PAGE, lagLimit - entries)
    if size <= 0 then return events, 0, first end
    local page = redis.call('XRANGE', stream, '(' .. cursor, '+', 'COUNT', size)
    for i = 1, #page do
      if first == '' then first = page[i][1] end
      local n, o = measure(page[i])
      if o and compareIds(page[i][1], exact) > 0 then
        return events + appended - (o - n), 1, first
      end
      events = events + n
      entries = entries + 1
    end
    if #page < size then return events, 1, first end
    cursor = page[#page][1]
  end
end

for k = 2, #KEYS do
  local a = 6 * (k - 2) + 3
  local fn, t, stream = ARGV[a], ARGV[a + 1], KEYS[k]
  local own = ':' .. fn .. ':' .. t
  local c = redis.call(
    'HMGET', KEYS[1], 'appended:' .. t, 'entries:' .. t, 'exact:' .. t, 'base' .. own,
    'done' .. own,
    'dead' .. own, 'purged' .. own, 'parked' .. own, 'at' .. own, 'skipped' .. own
  )
  local appended = countOf(c[1])
  local length, counted = redis.call('XLEN', stream), countOf(c[2])
  local even, exact = length == counted and 1 or 0, idOf(c[3])
  -- Foreign entries count as adopted, unless somebody has adopted them meanwhile.
  if even == 0 and ARGV[a + 2] ~= ''
    and ARGV[a + 2] == idOf(redis.call('HGET', KEYS[1], 'adopted:' .. t))
  then
    local entries = tonumber(ARGV[a + 3])
    appended = appended + tonumber(ARGV[a + 4])
    if entries > 0 then exact = ARGV[a + 5] end
    if length <= counted + entries then even = 1 end
  end
  local group
  if redis.call('EXISTS', stream) == 1 then
    for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
      local found = {}
      for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
      if found['name'] == fn then group = found end
    end
  end
  local events, entries, firstPending, exactPending = 0, 0, '', 1
  if group and group['pending'] > 0 then
    events, entries, firstPending = pendingOf(stream, fn)
    if entries < group['pending'] then exactPending = 0 end
  end
  -- A lost group is recreated behind the last commit.
  local after = group and group['last-delivered-id'] or idOf(c[9])
  local lag, exactLag, firstUndelivered = undelivered(stream, after, exact, appended)
  reply[k] = {
    group and 1 or 0, even, whole(appended), whole(countOf(c[4])), whole(countOf(c[5])),
    whole(countOf(c[6])), whole(countOf(c[7])), whole(countOf(c[8])),
    whole(events), exactPending, whole(lag), exactLag, firstPending, firstUndelivered,
    whole(countOf(c[10])),
  }
end
return reply
