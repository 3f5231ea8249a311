-- release-lease: give a lane back, so that its next owner need not wait for the TTL.
-- KEYS  1 lease
-- ARGV  1 lease value
-- reply 1 | 0 (it was not ours any more). cost O(1)
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
