-- trim: takes the oldest entries off one stream, a page a call. It stops at the limits, and at the
-- first entry that some function has not settled. Run adopt.lua until it is even first: then
-- counters and stream agree.
-- With src/redis/lua/entries.lua in front.
--
-- KEYS
-- 1. counters
-- 2. stream
--
-- ARGV
-- 1. type
-- 2. oldest age in ms, or ''
-- 3. most events, or ''
-- 4. entries of a page
--
-- Returns
-- 1. 'page' (call again) | 'done'
-- 2. events trimmed
-- 3. function that holds the rest, or ''
-- 4. first id that it holds, or ''
--
-- A function settles an entry with its acknowledgement: parked and dead events have their own
-- bytes. A registered function whose group was lost has settled the entries up to its last commit.
-- Other groups hold nothing.
--
-- Entries and counters change in one step, so that a trimmed entry is counted once.
--
-- Cost: O(page) with the bytes of its entries, plus O(counters).
local t = ARGV[1]
local maxAge, maxEvents, pageSize = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local flat = redis.call('HGETALL', KEYS[1])
local counters = {}
for i = 1, #flat, 2 do counters[flat[i]] = flat[i + 1] end
local function counter(name) return countOf(counters[name .. ':' .. t]) end
-- Not even: some entries are not counted yet. Trimming them would make the counters wrong.
if redis.call('XLEN', KEYS[2]) ~= counter('entries') then return {'done', '0', '', ''} end
if redis.call('EXISTS', KEYS[2]) == 0 then return {'done', '0', '', ''} end

local groups = {}
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local info = {}
  for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
  groups[info.name] = info
end
-- For each function: its first pending entry, or else its last delivered entry.
local bounds = {}
for field, types in pairs(counters) do
  local fn = string.match(field, '^types:(.+)$')
  if fn and string.find(',' .. types .. ',', ',' .. t .. ',', 1, true) then
    local group = groups[fn]
    if group and group.pending > 0 then bounds[fn] = {redis.call('XPENDING', KEYS[2], fn)[2], false}
    else
      bounds[fn] = {
        group and group['last-delivered-id'] or idOf(counters['at:' .. fn .. ':' .. t]), true
      }
    end
  end
end
local function holderOf(id)
  for fn, bound in pairs(bounds) do
    local c = compareIds(id, bound[1])
    if c > 0 or (c == 0 and not bound[2]) then return fn end
  end
  return nil
end

local time = redis.call('TIME')
local cutoff = maxAge and tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - maxAge
local excess = maxEvents and counter('appended') - counter('trimmed') - maxEvents or 0
local page = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', pageSize + 1)
local events, entries, holder = 0, 0, nil
for i = 1, #page do
  local id = page[i][1]
  local old = cutoff and tonumber(string.match(id, '^%d+')) < cutoff
  if not old and excess <= 0 then break end
  holder = holderOf(id)
  if holder or entries == pageSize then break end
  local n = measure(page[i])
  events, excess, entries = events + n, excess - n, entries + 1
end
if entries > 0 then
  redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', redis.call('XLEN', KEYS[2]) - entries)
  addTo(KEYS[1], 'trimmed:' .. t, string.format('%.0f', events))
  addTo(KEYS[1], 'entries:' .. t, -entries)
end
return {
  entries == pageSize and not holder and 'page' or 'done', string.format('%.0f', events),
  holder or '', holder and page[entries + 1][1] or ''
}
