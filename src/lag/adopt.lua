-- adopt: counts the foreign entries of one stream (those without field `o`), one page a call.
-- Cursor and counters change together. So a page is counted once, whatever happens to the caller.
-- With src/redis/lua/entries.lua in front.
--
-- KEYS
-- 1. counters
-- 2. stream
--
-- ARGV
-- 1. type
-- 2. entries of a page
--
-- Returns
-- - {'even', entries adopted, entries lost}: every entry is accounted for
-- - {'page', entries adopted, 0}: call again
-- - {'uneven', entries adopted, 0}: the search has reached the end, and there are more entries than
--   counters and cursor explain
--
-- Entries that have vanished although nobody trimmed them move from `entries` to `lost`. So they do
-- not hide later foreign entries.
--
-- Cost: O(1) when even, else O(page) plus the walk over the bytes of foreign entries without `n`.
local t = ARGV[1]
local function counter(name) return countOf(redis.call('HGET', KEYS[1], name .. ':' .. t)) end
local function whole(x) return string.format('%.0f', x) end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local lastId = last and last[1] or '0-0'
local length = redis.call('XLEN', KEYS[2])
local cursor = idOf(redis.call('HGET', KEYS[1], 'adopted:' .. t))
if length == counter('entries') then
  -- pcall: under OOM the cursor may stay behind, which only costs a longer search later.
  if lastId ~= cursor then redis.pcall('HSET', KEYS[1], 'adopted:' .. t, lastId) end
  return {'even', 0, 0}
end

local page = redis.call('XRANGE', KEYS[2], '(' .. cursor, '+', 'COUNT', ARGV[2])
local entries, events = 0, 0
for i = 1, #page do
  local count, ordinal = measure(page[i])
  if not ordinal then
    entries = entries + 1
    events = events + count
  end
end
if entries > 0 then
  addTo(KEYS[1], 'appended:' .. t, whole(events))
  addTo(KEYS[1], 'foreign:' .. t, whole(events))
  addTo(KEYS[1], 'entries:' .. t, entries)
  -- Our entries up to here have an `o` without these events. The `o` of later entries includes
  -- them.
  redis.call('HSET', KEYS[1], 'exact:' .. t, lastId)
end
if #page > 0 then redis.call('HSET', KEYS[1], 'adopted:' .. t, page[#page][1]) end
if #page >= tonumber(ARGV[2]) then return {'page', entries, 0} end

local surplus = length - counter('entries')
if surplus < 0 then
  addTo(KEYS[1], 'entries:' .. t, surplus)
  addTo(KEYS[1], 'lost:' .. t, -surplus)
end
return {surplus > 0 and 'uneven' or 'even', entries, math.max(0, -surplus)}
