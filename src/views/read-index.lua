-- read-index: reads a page of one partition's part of an index, and how fresh it is.
-- KEYS  1 index, 2 counters
-- ARGV  1 generation, 2 'asc' | 'desc' | 'count', 3 smallest, 4 largest (as ZRANGEBYLEX has them),
--       5 most members, 6.. its types
-- reply {members, freshness} | {number of members, freshness} |
--       {'!<type>', freshness}: the key is of another type
-- cost  O(log entries + members)
local types = {}
for i = 6, #ARGV do types[i - 5] = ARGV[i] end
local found
if ARGV[2] == 'count' then found = redis.pcall('ZLEXCOUNT', KEYS[1], ARGV[3], ARGV[4])
elseif ARGV[2] == 'asc' then
  found = redis.pcall('ZRANGEBYLEX', KEYS[1], ARGV[3], ARGV[4], 'LIMIT', 0, ARGV[5])
else found = redis.pcall('ZREVRANGEBYLEX', KEYS[1], ARGV[4], ARGV[3], 'LIMIT', 0, ARGV[5]) end
if type(found) == 'table' and found.err then
  local kind = redis.call('TYPE', KEYS[1]).ok
  if kind == 'zset' or kind == 'none' then return found end
  found = '!' .. kind
end
return {found, freshness(KEYS[2], ARGV[1], types)}
