-- adopt: counts the foreign entries of one stream (those without field `o`), one page a call. Cursor and counters move together,
-- so a page is counted once whatever becomes of the caller.
-- KEYS  1 counters, 2 stream
-- ARGV  1 type, 2 entries a page
-- reply {'even', entries adopted} (every entry is accounted for) | {'page', entries adopted} (call again) |
--       {'uneven', entries adopted} (searched to the end; there are more entries than counters and cursor explain)
-- Events of an entry, as the lane's reader counts them: `n` when it is a whole number from 1 to 65536, else the events in `b`
-- (field 3 of EventBatch), else 1. Entries that have vanished although nobody trimmed them move from `entries` to `lost`, so
-- that they do not hide foreign ones that come later.
-- cost  O(1) when even, else O(page) plus the walk over the bytes of foreign entries without `n`
local t = ARGV[1]
local function counter(name) return tonumber(redis.call('HGET', KEYS[1], name .. ':' .. t) or '0') end
local function whole(x) return string.format('%.0f', x) end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local lastId = last and last[1] or '0-0'
local length = redis.call('XLEN', KEYS[2])
local cursor = redis.call('HGET', KEYS[1], 'adopted:' .. t) or '0-0'
if length == counter('entries') then
  -- pcall: under OOM the cursor may stay behind, which only costs a longer search later
  if lastId ~= cursor then redis.pcall('HSET', KEYS[1], 'adopted:' .. t, lastId) end
  return {'even', 0}
end

-- Number(text) of JavaScript, for what can be a whole number from 1 to 65536; else nil
local function parseCount(text)
  local s = string.match(text, '^%s*(.-)%s*$')
  local n
  if string.find(s, '^0[xX]%x+$') then n = tonumber(string.sub(s, 3), 16)
  elseif string.find(s, '^0[bB][01]+$') then n = tonumber(string.sub(s, 3), 2)
  elseif string.find(s, '^0[oO][0-7]+$') then n = tonumber(string.sub(s, 3), 8)
  elseif string.find(s, '^%+?%d[%d.]*[eE]?[+-]?%d*$') or string.find(s, '^%+?%.%d[%d]*[eE]?[+-]?%d*$') then n = tonumber(s) end
  if n and n >= 1 and n <= 65536 and n == math.floor(n) then return n end
  return nil
end

-- Events in an EventBatch; nil when the bytes are none.
local function walk(b)
  local at, stop, events = 1, #b, 0
  local function varint(bounded)
    local value, factor = 0, 1
    for _ = 1, 10 do
      local byte = string.byte(b, at)
      if not byte then return nil end
      at = at + 1
      if byte < 128 then
        value = value + byte * factor
        if bounded and value > 9007199254740991 then return nil end
        return value
      end
      value = value + (byte - 128) * factor
      factor = factor * 128
    end
    return nil
  end
  while at <= stop do
    local tag = varint(true)
    if not tag then return nil end
    if tag == 26 then events = events + 1 end
    local wire = tag % 8
    if wire == 0 then
      if not varint(false) then return nil end
    elseif wire == 1 then at = at + 8
    elseif wire == 5 then at = at + 4
    elseif wire == 2 then
      local size = varint(true)
      if not size then return nil end
      at = at + size
    else return nil end
    if at > stop + 1 then return nil end
  end
  return events
end

local page = redis.call('XRANGE', KEYS[2], '(' .. cursor, '+', 'COUNT', ARGV[2])
local entries, events = 0, 0
for i = 1, #page do
  local fields = page[i][2]
  local b, n, own = '', '', false
  for f = 1, #fields, 2 do
    local name = fields[f]
    if name == 'o' then own = true elseif name == 'b' then b = fields[f + 1] elseif name == 'n' then n = fields[f + 1] end
  end
  if not own then
    entries = entries + 1
    events = events + (parseCount(n) or math.max(1, walk(b) or 1))
  end
end
if entries > 0 then
  redis.call('HINCRBY', KEYS[1], 'appended:' .. t, whole(events))
  redis.call('HINCRBY', KEYS[1], 'foreign:' .. t, whole(events))
  redis.call('HINCRBY', KEYS[1], 'entries:' .. t, entries)
  -- Our entries up to here were given their `o` without these events; those appended from now on include them.
  redis.call('HSET', KEYS[1], 'exact:' .. t, lastId)
end
if #page > 0 then redis.call('HSET', KEYS[1], 'adopted:' .. t, page[#page][1]) end
if #page >= tonumber(ARGV[2]) then return {'page', entries} end

local surplus = length - counter('entries')
if surplus < 0 then
  redis.call('HINCRBY', KEYS[1], 'entries:' .. t, surplus)
  redis.call('HINCRBY', KEYS[1], 'lost:' .. t, -surplus)
end
return {surplus > 0 and 'uneven' or 'even', entries}
