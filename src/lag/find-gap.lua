-- find-gap: finds missing entries of a stream by the ordinals (`o`) of their neighbours, one page a
-- call. Reads only.
-- With src/redis/lua/entries.lua in front.
--
-- KEYS
-- 1. counters
-- 2. stream
--
-- ARGV
-- 1. type
-- 2. id to go on behind, or ''
-- 3. ordinal of that entry, or ''
-- 4. entries of a page
--
-- Returns
-- - {'gap', id before it or '0-0', id behind it}
-- - {'page', id, ordinal}: call again
-- - {'end', last id, ''}: the missing entries lie behind the last one
--
-- Cost: O(page), with the bytes of its entries.
local t, cursor, ordinal = ARGV[1], ARGV[2], tonumber(ARGV[3])
if cursor == '' then
  cursor = redis.call('HGET', KEYS[1], 'exact:' .. t) or '0-0'
  -- Ordinals start where retention has stopped. Behind foreign entries they start anywhere.
  if cursor == '0-0' then ordinal = countOf(redis.call('HGET', KEYS[1], 'trimmed:' .. t)) end
end
local page = redis.call('XRANGE', KEYS[2], '(' .. cursor, '+', 'COUNT', ARGV[4])
for i = 1, #page do
  local n, o = measure(page[i])
  if o then
    if ordinal and o - n > ordinal then return {'gap', cursor, page[i][1]} end
    ordinal = o
  end
  cursor = page[i][1]
end
if #page < tonumber(ARGV[4]) then return {'end', cursor, ''} end
return {'page', cursor, ordinal and string.format('%.0f', ordinal) or ''}
