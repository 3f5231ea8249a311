-- forget-generation: a generation whose rows are to be removed is not to be switched to any more; never the live one.
-- KEYS  1 views
-- ARGV  1 view, 2 version
-- reply {'ok'} | {'live'}
if redis.call('HGET', KEYS[1], 'live:' .. ARGV[1]) == ARGV[2] then return {'live'} end
redis.call('HDEL', KEYS[1], 'generation:' .. ARGV[1] .. '@' .. ARGV[2], 'lookups:' .. ARGV[1] .. '@' .. ARGV[2])
if redis.call('HGET', KEYS[1], 'previous:' .. ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], 'previous:' .. ARGV[1]) end
return {'ok'}
