-- set-level: sets the compatibility level of a subject, or the global one.
-- KEYS  1 meta, 2 levels
-- ARGV  1 subject or '' (the global level), 2 level or '' (no level of its own: the one above
--       holds), 3 most subjects with a level
-- reply {'ok', the level before or ''} | {'full'}
-- cost  O(1)
local before
if ARGV[1] == '' then
  before = redis.call('HGET', KEYS[1], 'level')
  if ARGV[2] == '' then
    redis.call('HDEL', KEYS[1], 'level')
  else
    redis.call('HSET', KEYS[1], 'level', ARGV[2])
  end
else
  before = redis.call('HGET', KEYS[2], ARGV[1])
  if ARGV[2] == '' then
    redis.call('HDEL', KEYS[2], ARGV[1])
  else
    if not before and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[3]) then return {'full'} end
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  end
end
return {'ok', before or ''}
