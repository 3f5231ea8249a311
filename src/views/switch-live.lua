-- switch-live: from this moment queries of a view read another generation.
-- KEYS  1 views
-- ARGV  1 view, 2 version that is to be live now, 3 version to become live
-- reply {'ok'} | {'live', live version} (somebody else has switched) | {'unknown'}
-- Sent again it does nothing and says ok.
local live = redis.call('HGET', KEYS[1], 'live:' .. ARGV[1])
if redis.call('HEXISTS', KEYS[1], 'generation:' .. ARGV[1] .. '@' .. ARGV[3]) == 0 then return {'unknown'} end
if live == ARGV[3] then return {'ok'} end
if live ~= ARGV[2] then return {'live', live or ''} end
redis.call('HSET', KEYS[1], 'live:' .. ARGV[1], ARGV[3], 'previous:' .. ARGV[1], live)
return {'ok'}
