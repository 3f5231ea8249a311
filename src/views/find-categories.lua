-- find-categories: which sets of histories there are, a page of the server's keys a call. Reads only.
-- A script, so that in a Cluster it looks where the partition is.
-- KEYS  1 any key of the partition
-- ARGV  1 cursor, 2 pattern of the keys, 3 keys a page
-- reply {next cursor ('0': that was all), key, ...}
-- cost  O(page)
local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3], 'TYPE', 'zset')
local reply = {found[1]}
for _, key in ipairs(found[2]) do reply[#reply + 1] = key end
return reply
