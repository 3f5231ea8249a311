-- forget-generation: removes the record of a generation, so that no switch to it is possible. Its
-- rows are removed already. The live generation is refused.
-- KEYS  1 views
-- ARGV  1 view, 2 version
-- reply {'ok'} | {'live'}
if redis.call('HGET', KEYS[1], 'live:' .. ARGV[1]) == ARGV[2] then return {'live'} end
redis.call(
  'HDEL', KEYS[1], 'generation:' .. ARGV[1] .. '@' .. ARGV[2],
  'lookups:' .. ARGV[1] .. '@' .. ARGV[2]
)
if redis.call('HGET', KEYS[1], 'previous:' .. ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[1], 'previous:' .. ARGV[1])
end
return {'ok'}
