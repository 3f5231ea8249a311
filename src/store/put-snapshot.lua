-- put-snapshot: keeps the state of an aggregate, unless a newer one is kept.
-- KEYS  1 history, 2 snapshot
-- ARGV  1 revision, 2 state, 3 schema
-- reply 1 kept | 0 not: one of a later revision, or of the same one and schema, is there, or the history does not reach so far
-- cost  O(1) plus the copy of the state
local revision = tonumber(ARGV[1])
if redis.call('LLEN', KEYS[1]) < revision then return 0 end
local kept = redis.call('HMGET', KEYS[2], 'revision', 'schema')
local before = tonumber(kept[1])
if before and (before > revision or before == revision and kept[2] == ARGV[3]) then return 0 end
redis.call('HSET', KEYS[2], 'revision', ARGV[1], 'state', ARGV[2], 'schema', ARGV[3])
return 1
