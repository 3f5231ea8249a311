-- In front of scripts that only the owner of a lane may run.
-- Whether the lane is the owner's with this lease value, and if so its lease for `ttl` ms from now (nil: as it is). A lease that has
-- ended by itself (Redis or the owner stood still) is taken up again where nobody has had the lane since: it still stands in the
-- counters that this owner opened it, and neither a rewind nor a pass over histories came between. After FLUSHALL, or where Redis
-- has gone back to a time before, that does not stand there.
-- PEXPIRE or DEL come first: they work under OOM and make the rest of the script work there too. cost O(1)
local function holdsLease(leaseKey, counters, lane, value, ttl)
  local current = redis.call('GET', leaseKey)
  if current == value then
    if ttl then redis.call('PEXPIRE', leaseKey, ttl) end
    return true
  end
  if current then return false end
  local epoch = string.match(value, ':(%d+)$')
  local fn = string.match(lane, '^[^#]+')
  local stands = redis.call('HMGET', counters, 'open:' .. lane, 'opener:' .. lane, 'rewound:' .. fn, 'pass:' .. fn)
  if not epoch or stands[1] ~= epoch or stands[2] ~= value or stands[4] or (tonumber(stands[3] or '0') or math.huge) >= tonumber(epoch) then return false end
  if ttl then
    redis.call('DEL', leaseKey)
    redis.call('SET', leaseKey, value, 'PX', ttl)
  end
  return true
end
