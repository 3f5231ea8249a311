-- check-parked: checks that every parked unit has a reason that is still true. A unit is due within
-- the longest delay of its function, or held by a dead letter that exists. A unit without a reason
-- is set free. It is forgotten where nothing is parked.
--
-- KEYS
-- 1. counters
-- 2. due
-- 3. held
-- 4. dead letters
-- 5. arrived
-- 6. then the parked list of each unit
--
-- ARGV
-- 1. function
-- 2. longest delay in ms
-- 3. T
-- 4. then T types
-- 5. then units
--
-- A list of up to 8 records gets its place in `arrived`, for 500 records a call. A longer one gets
-- none, because the oldest event may stand anywhere in it.
--
-- Returns
-- 1. 1 if these are all units there are, else 0
-- 2. events in their lists
-- 3. events parked as counted
-- 4. the correction of the counts
-- 5. then, for each wedged unit: unit, why, events
--
-- `why` is
-- - 'unscheduled': a list outside the schedule, so that nobody would ever look at it
-- - 'letterless': held by a dead letter that is gone
-- - 'unheld': held and due at the same time
-- - 'late': due later than any retry of this function
-- - 'empty': nothing is parked
--
-- A count below zero comes from a transaction that Redis has applied in part (docs/operations.md),
-- or from another program. The count is set right where its value is certain.
--
-- Cost: O(units x log(units)), the walk over T counters, and the bytes of up to 500 records.
local fn, longest, T = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local counted, events, scheduled = 0, 0, 0
local below = false
for i = 1, T do
  local count = countOf(redis.call('HGET', KEYS[1], 'parked:' .. fn .. ':' .. ARGV[3 + i]))
  counted = counted + count
  if count < 0 then below = true end
end
-- Gives a unit with a list its place in `arrived`, and takes away the place of one without.
local unread = 500
local function place(unit, list, length, held)
  local known, sign = arrivalOf(KEYS[5], unit)
  if length == 0 then
    if known then noteGone(KEYS[5], unit) end
  elseif known then
    if (sign == '-') ~= held then noteHead(KEYS[5], unit, list, held) end
  elseif length <= 8 and length <= unread then
    unread = unread - length
    local first, least
    for _, record in ipairs(redis.call('LRANGE', list, 0, -1)) do
      local _, id = originOf(record)
      local ms = id and string.match(id, '^%d+')
      if not ms then return end
      first = first or ms
      if not least or tonumber(ms) < tonumber(least) then least = ms end
    end
    noteFirst(KEYS[5], unit, first == least and least or least .. '.5', held)
  end
end

local reply = {0, 0, 0, 0}
for i = 6, #KEYS do
  local unit, list = ARGV[3 + T + i - 5], KEYS[i]
  local score = redis.call('ZSCORE', KEYS[2], unit)
  local length = redis.call('LLEN', list)
  local letter = redis.call('HGET', KEYS[3], unit)
  -- pcall: another program may have written a text that is no id.
  local found = letter and redis.pcall('XRANGE', KEYS[4], letter, letter)
  local holds = found and not found.err and #found == 1
  local why
  if letter and not holds then
    why = 'letterless'
    redis.call('HDEL', KEYS[3], unit)
    redis.call('ZADD', KEYS[2], string.format('%.0f', now), unit)
  elseif holds then
    if score ~= 'inf' then
      why = 'unheld'
      redis.call('ZADD', KEYS[2], '+inf', unit)
    end
  elseif length > 0 and not score then
    why = 'unscheduled'
    redis.call('ZADD', KEYS[2], string.format('%.0f', now), unit)
  elseif length > 0 and (score == 'inf' or tonumber(score) > now + longest) then
    why = 'late'
    redis.call('ZADD', KEYS[2], string.format('%.0f', now), unit)
  elseif length == 0 and score then
    why = 'empty'
  end
  if length == 0 and not holds then
    redis.call('ZREM', KEYS[2], unit)
  else
    scheduled = scheduled + 1
  end
  place(unit, list, length, holds and true or false)
  events = events + length
  if why then
    reply[#reply + 1] = unit
    reply[#reply + 1] = why
    reply[#reply + 1] = length
  end
end
reply[1] = redis.call('ZCARD', KEYS[2]) == scheduled and 1 or 0
reply[2], reply[3] = events, string.format('%.0f', counted)
if below and reply[1] == 1 and (events == 0 or T == 1) then
  for i = 1, T do
    redis.call('HSET', KEYS[1], 'parked:' .. fn .. ':' .. ARGV[3 + i], i == 1 and events or 0)
  end
  reply[4] = string.format('%.0f', events - counted)
end
return reply
