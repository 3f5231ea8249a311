-- read-row: one row of a view, and how fresh it is.
-- KEYS  1 row, 2 counters
-- ARGV  1 generation, 2.. its types
-- reply {row or '', freshness}
local types = {}
for i = 2, #ARGV do types[i - 1] = ARGV[i] end
return {redis.call('GET', KEYS[1]) or '', freshness(KEYS[2], ARGV[1], types)}
