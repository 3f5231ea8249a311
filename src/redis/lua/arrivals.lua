-- arrivals: keeps the zset `arrived:<f>`, with parked-record.lua in front. Its members are the
-- units that have a parked list.
--
-- A unit's score is the arrival of its oldest event: the ms of the entry id. It is negative while a
-- dead letter holds the unit. So the oldest event that waits has the lowest score from 0 on, and
-- the oldest held one the highest score below 0.
--
-- A list is in stream order as a rule, and its head is the oldest. Replays and rewinds may put an
-- older event behind younger ones. The score then ends in .5: no event of the list is older, and
-- the head may be younger. The mark stays until the list is empty.
--
-- An older version has left lists without a score. Nothing here gives them one, because their order
-- is not known: check-parked.lua does, where it can read the whole list.
--
-- pcall: the zset is for readers only, so a foreign key in its place stops nothing.

-- The list of the unit has its first event.
local function noteFirst(arrived, unit, ms, held)
  if held then ms = ms == '0' and '-1' or '-' .. ms end
  redis.pcall('ZADD', arrived, ms, unit)
end

-- The unit has no list any more.
local function noteGone(arrived, unit) redis.pcall('ZREM', arrived, unit) end

-- Returns the score without its sign, and the sign; nil where the unit has none.
local function arrivalOf(arrived, unit)
  local score = redis.pcall('ZSCORE', arrived, unit)
  if type(score) ~= 'string' then return nil end
  if string.sub(score, 1, 1) == '-' then return string.sub(score, 2), '-' end
  return score, ''
end

-- An event has come to the end of a list that was there.
local function noteBehind(arrived, unit, ms)
  local known, sign = arrivalOf(arrived, unit)
  if known and tonumber(ms) < math.floor(tonumber(known)) then
    redis.pcall('ZADD', arrived, sign .. ms .. '.5', unit)
  end
end

-- An event has come to the head of a list that was there and is held no longer.
local function noteBefore(arrived, unit, ms)
  local known = arrivalOf(arrived, unit)
  if not known then return end
  local marked = string.sub(known, -2) == '.5'
  if tonumber(ms) > tonumber(known) then ms = marked and known or known .. '.5'
  elseif marked then ms = ms .. '.5' end
  redis.pcall('ZADD', arrived, ms, unit)
end

-- Events were taken off the list, or the unit is held now, or no longer.
local function noteHead(arrived, unit, list, held)
  local head = redis.pcall('LINDEX', list, 0)
  if type(head) ~= 'string' then
    noteGone(arrived, unit)
    return
  end
  local ms = arrivalOf(arrived, unit)
  if not ms then return end
  if string.sub(ms, -2) ~= '.5' then
    local _, id = originOf(head)
    -- An unreadable head is set aside soon. Until then no event is older than the former head.
    if id then ms = string.match(id, '^%d+') end
  end
  redis.pcall('ZADD', arrived, (held and '-' or '') .. ms, unit)
end
