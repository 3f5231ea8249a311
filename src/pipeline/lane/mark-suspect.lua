-- mark-suspect: written down before an event is run that may kill the whole dispatcher; cleared when the place is passed.
-- KEYS  1 lease, 2 counters
-- ARGV  1 lease value, 2 TTL in ms, 3 lane name, 4 the mark; '' ends the search
-- reply 1 | 0 (the lease is lost)
-- PEXPIRE comes first: it works under OOM and makes the rest of the script work there too. cost O(1)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[2], 'crash:' .. ARGV[3], 'suspect:' .. ARGV[3])
else
  redis.call('HSET', KEYS[2], 'suspect:' .. ARGV[3], ARGV[4])
end
return 1
