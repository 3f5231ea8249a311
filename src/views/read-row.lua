-- read-row: reads one row of a view, and how fresh it is.
-- KEYS  1 row, 2 counters
-- ARGV  1 generation, 2.. its types
-- reply {row or '' ('!<type>' for a key of another type), freshness}
local types = {}
for i = 2, #ARGV do types[i - 1] = ARGV[i] end
local row = redis.pcall('GET', KEYS[1])
if type(row) == 'table' then
  local kind = redis.call('TYPE', KEYS[1]).ok
  if kind == 'string' then return row end
  row = '!' .. kind
end
return {row or '', freshness(KEYS[2], ARGV[1], types)}
