-- find-lists: finds parked lists of one function and partition, one page of the server's keys a
-- call. Reads only. A script, so that in a Cluster it looks at the node of the partition.
--
-- KEYS
-- 1. any key of the partition
--
-- ARGV
-- 1. cursor
-- 2. prefix of the lists' keys
-- 3. keys of a page
--
-- Returns {next cursor, key, ...}. The cursor '0' ends the search.
--
-- Cost: O(page).
local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2] .. '*', 'COUNT', ARGV[3])
local reply = {found[1]}
for _, key in ipairs(found[2]) do reply[#reply + 1] = key end
return reply
