-- live-generation: reads the generation that the queries of a view use.
-- KEYS  1 views
-- ARGV  1 view
-- reply {live version, its shape, its lookups or ''} | {} (unknown)
local live = redis.call('HGET', KEYS[1], 'live:' .. ARGV[1])
local shape = live and redis.call('HGET', KEYS[1], 'generation:' .. ARGV[1] .. '@' .. live)
if not shape then return {} end
return {live, shape, redis.call('HGET', KEYS[1], 'lookups:' .. ARGV[1] .. '@' .. live) or ''}
