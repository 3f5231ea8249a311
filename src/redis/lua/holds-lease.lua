-- holds-lease: the fence of scripts that only the owner of a lane may run. defineScript's `with`
-- puts this file in front of them.
--
-- Returns whether the owner with this lease value has the lane. If so, its lease lasts `ttl` ms
-- from now (nil: as before). A lease may end by itself, when Redis or the owner stands still. The
-- owner then takes the lease up again if nobody has had the lane since. The counters tell: this
-- owner is still the last opener, and neither a rewind nor a pass over histories came between.
-- After FLUSHALL, or once Redis has gone back to an earlier time, the counters do not say so.
-- PEXPIRE or DEL come first: both work under OOM, and make the rest of the script work there, too.
-- cost O(1)
local function holdsLease(leaseKey, counters, lane, value, ttl)
  local current = redis.call('GET', leaseKey)
  if current == value then
    if ttl then redis.call('PEXPIRE', leaseKey, ttl) end
    return true
  end
  if current then return false end
  local epoch = string.match(value, ':(%d+)$')
  local fn = string.match(lane, '^[^#]+')
  local stands = redis.call(
    'HMGET', counters, 'open:' .. lane, 'opener:' .. lane, 'rewound:' .. fn, 'pass:' .. fn
  )
  if not epoch or stands[1] ~= epoch or stands[2] ~= value or stands[4]
    or (tonumber(stands[3] or '0') or math.huge) >= tonumber(epoch)
  then
    return false
  end
  if ttl then
    redis.call('DEL', leaseKey)
    redis.call('SET', leaseKey, value, 'PX', ttl)
  end
  return true
end
