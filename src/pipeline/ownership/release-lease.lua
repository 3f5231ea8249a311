-- release-lease: gives a lane back. Its next owner need not wait for the TTL, and knows that nobody
-- died.
-- KEYS  1 lease, 2 counters
-- ARGV  1 lease value, 2 lane name
-- reply 1 | 0 (the lease was not ours any more)
-- cost  O(1)
if not holdsLease(KEYS[1], KEYS[2], ARGV[2], ARGV[1], nil) then return 0 end
redis.call(
  'HDEL', KEYS[2], 'open:' .. ARGV[2], 'opener:' .. ARGV[2], 'presumed:' .. ARGV[2],
  'lives:' .. ARGV[2], 'crash:' .. ARGV[2], 'suspect:' .. ARGV[2]
)
return redis.call('DEL', KEYS[1])
