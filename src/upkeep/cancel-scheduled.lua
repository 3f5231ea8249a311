-- cancel-scheduled: takes one scheduled event back.
-- KEYS  1 scheduled (zset), 2 scheduled events (hash)
-- ARGV  1 event id
-- reply 1 | 0 (no such event waits)
-- cost  O(log scheduled)
local record = redis.call('HGET', KEYS[2], ARGV[1])
if not record then return 0 end
local number = string.match(record, '^%d+ (%d+) ')
redis.call('ZREM', KEYS[1], string.format('%016.0f', tonumber(number)) .. ':' .. ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
