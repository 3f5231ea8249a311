-- count-foreign: counts the entries that adopt.lua would count, one page a call. Reads only.
-- With src/redis/lua/entries.lua in front.
--
-- KEYS
-- 1. counters
-- 2. stream
--
-- ARGV
-- 1. type
-- 2. id to go on behind; '' begins at the end of the adoption
-- 3. entries of a page
--
-- Returns
-- 1. id at which the adoption ends
-- 2. foreign entries of the page
-- 3. their events
-- 4. last id of the page
-- 5. 1 if the stream goes on
--
-- Cost: O(page), plus the walk over the bytes of foreign entries without `n`.
local adopted = idOf(redis.call('HGET', KEYS[1], 'adopted:' .. ARGV[1]))
local cursor = ARGV[2] == '' and adopted or ARGV[2]
local page = redis.call('XRANGE', KEYS[2], '(' .. cursor, '+', 'COUNT', ARGV[3])
local entries, events = 0, 0
for i = 1, #page do
  local count, ordinal = measure(page[i])
  if not ordinal then
    entries = entries + 1
    events = events + count
  end
  cursor = page[i][1]
end
return {
  adopted, entries, string.format('%.0f', events), cursor, #page >= tonumber(ARGV[3]) and 1 or 0
}
