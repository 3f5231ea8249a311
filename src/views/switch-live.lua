-- switch-live: makes another generation of a view live. From this moment queries read it.
-- KEYS  1 views
-- ARGV  1 view, 2 version that must be live now, 3 version to make live
-- reply {'ok'} | {'live', live version} (another caller has switched) | {'unknown'}
-- A repeated call changes nothing and answers ok.
local live = redis.call('HGET', KEYS[1], 'live:' .. ARGV[1])
if redis.call('HEXISTS', KEYS[1], 'generation:' .. ARGV[1] .. '@' .. ARGV[3]) == 0 then
  return {'unknown'}
end
if live == ARGV[3] then return {'ok'} end
if live ~= ARGV[2] then return {'live', live or ''} end
redis.call('HSET', KEYS[1], 'live:' .. ARGV[1], ARGV[3], 'previous:' .. ARGV[1], live)
return {'ok'}
