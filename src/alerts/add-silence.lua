-- add-silence: adds a silence of alerts, unless there are as many as there may be. Others may add
-- theirs at the same time.
-- KEYS  1 silences
-- ARGV  1 most silences, 2 id, 3 the silence as JSON, 4.. ids of silences that are over
-- reply 1 | 0 (there are too many, and none was added)
-- HDEL comes first: it works under OOM and makes the rest of the script work there, too.
-- cost  O(silences that are over)
redis.call('HDEL', KEYS[1], ARGV[2], unpack(ARGV, 4))
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
