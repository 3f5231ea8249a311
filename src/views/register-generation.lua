-- register-generation: makes a generation of a view known. The first one of a view is live at once.
-- KEYS  1 views
-- ARGV  1 view, 2 version, 3 its shape (JSON: types and indexes),
--       4 its lookups (JSON: indexes with a by, with a sort)
-- reply {'ok', live version} |
--       {'changed', the shape or the lookups it was registered with, 'shape' | 'lookups'}
-- HDEL comes first: it works under OOM and makes the rest of the script work there too. Consumers
-- must run under OOM, because they free memory.
redis.call('HDEL', KEYS[1], '')
local field = 'generation:' .. ARGV[1] .. '@' .. ARGV[2]
local known = redis.call('HGET', KEYS[1], field)
if known and known ~= ARGV[3] then return {'changed', known, 'shape'} end
local lookups = 'lookups:' .. ARGV[1] .. '@' .. ARGV[2]
local before = redis.call('HGET', KEYS[1], lookups)
if before and before ~= ARGV[4] then return {'changed', before, 'lookups'} end
redis.call('HSET', KEYS[1], lookups, ARGV[4])
redis.call('HSET', KEYS[1], field, ARGV[3])
redis.call('HSETNX', KEYS[1], 'live:' .. ARGV[1], ARGV[2])
return {'ok', redis.call('HGET', KEYS[1], 'live:' .. ARGV[1])}
