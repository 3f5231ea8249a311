-- lag: where every function of one partition stands, at one moment. Reads only.
-- KEYS  1 counters, then a stream per pair of function and type
-- ARGV  1 most pending entries to add up per pair, 2 most undelivered entries to add up per pair, then per pair: function, type
-- reply {server time in ms, per pair {group, even, appended, base, done, dead, purged, parked, pending events, pending exact,
--        lag, lag exact, first pending entry id, first undelivered entry id}}
--       group: 1 | 0 (the consumer group is gone); even: 1 | 0 (foreign entries wait for their adoption);
--       exact: 1 | 0 (more entries than ARGV allows: events of those that were added up)
-- Lag comes from ordinals (`o`), never as a remainder, so that the caller's sum is a check and not a tautology. An `o` can be
-- relied upon behind `exact:<type>`; up to there entries are added up one by one.
-- cost  per pair O(pending entries + undelivered entries up to `exact:<type>`), each with its bytes, both bounded by ARGV
local time = redis.call('TIME')
local reply = {string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))}
local pendingLimit, lagLimit = tonumber(ARGV[1]), tonumber(ARGV[2])
local PAGE = 64
local function whole(x) return string.format('%.0f', x) end

local function compare(a, b)
  local aMs, aSeq = string.match(a, '^(%d+)-(%d+)$')
  local bMs, bSeq = string.match(b, '^(%d+)-(%d+)$')
  if #aMs ~= #bMs then return #aMs < #bMs and -1 or 1 end
  if aMs ~= bMs then return aMs < bMs and -1 or 1 end
  if #aSeq ~= #bSeq then return #aSeq < #bSeq and -1 or 1 end
  if aSeq ~= bSeq then return aSeq < bSeq and -1 or 1 end
  return 0
end

-- walk, parseCount: as in adopt.lua, so that an entry weighs the same everywhere. Events in an EventBatch; 1 when it is none.
local function walk(b)
  local at, stop, events = 1, #b, 0
  local function varint()
    local value, factor = 0, 1
    for _ = 1, 10 do
      local byte = string.byte(b, at)
      if not byte then return nil end
      at = at + 1
      if byte < 128 then return value + byte * factor end
      value = value + (byte - 128) * factor
      factor = factor * 128
    end
    return nil
  end
  while at <= stop do
    local tag = varint()
    if not tag or tag > 9007199254740991 then return 1 end
    if tag == 26 then events = events + 1 end
    local wire = tag % 8
    if wire == 0 then
      if not varint() then return 1 end
    elseif wire == 1 then at = at + 8
    elseif wire == 5 then at = at + 4
    elseif wire == 2 then
      local size = varint()
      if not size or size > 9007199254740991 then return 1 end
      at = at + size
    else return 1 end
    if at > stop + 1 then return 1 end
  end
  return math.max(1, events)
end

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

-- Events of an entry, and its ordinal if it has one.
local function measure(entry)
  local fields = entry[2]
  local b, n, o = '', '', nil
  for f = 1, #fields, 2 do
    local name = fields[f]
    if name == 'b' then b = fields[f + 1] elseif name == 'n' then n = fields[f + 1] elseif name == 'o' then o = tonumber(fields[f + 1]) end
  end
  return parseCount(n) or walk(b), o
end

local function pendingOf(stream, fn)
  local events, entries, from, first = 0, 0, '-', ''
  while entries < pendingLimit do
    local page = redis.call('XPENDING', stream, fn, from, '+', math.min(PAGE, pendingLimit - entries))
    for i = 1, #page do
      if first == '' then first = page[i][1] end
      local entry = redis.call('XRANGE', stream, page[i][1], page[i][1])[1]
      -- a deleted entry will be dead-lettered as one
      events = events + (entry and measure(entry) or 1)
      entries = entries + 1
    end
    if #page < PAGE then break end
    from = '(' .. page[#page][1]
  end
  return events, entries, first
end

-- Events behind `after`: one by one as far as ordinals are not exact, from the first exact ordinal on by subtraction.
local function undelivered(stream, after, exact, appended)
  local events, entries, first, cursor = 0, 0, '', after
  while true do
    -- Most often the first entry's ordinal says it all.
    local size = entries == 0 and 1 or math.min(PAGE, lagLimit - entries)
    if size <= 0 then return events, 0, first end
    local page = redis.call('XRANGE', stream, '(' .. cursor, '+', 'COUNT', size)
    for i = 1, #page do
      if first == '' then first = page[i][1] end
      local n, o = measure(page[i])
      if o and compare(page[i][1], exact) > 0 then return events + appended - (o - n), 1, first end
      events = events + n
      entries = entries + 1
    end
    if #page < size then return events, 1, first end
    cursor = page[#page][1]
  end
end

for k = 2, #KEYS do
  local fn, t, stream = ARGV[2 * k - 1], ARGV[2 * k], KEYS[k]
  local c = redis.call('HMGET', KEYS[1], 'appended:' .. t, 'entries:' .. t, 'exact:' .. t, 'base:' .. fn .. ':' .. t, 'done:' .. fn .. ':' .. t,
    'dead:' .. fn .. ':' .. t, 'purged:' .. fn .. ':' .. t, 'parked:' .. fn .. ':' .. t, 'at:' .. fn .. ':' .. t)
  local appended = tonumber(c[1] or '0')
  local even = redis.call('XLEN', stream) == tonumber(c[2] or '0') and 1 or 0
  local group
  if redis.call('EXISTS', stream) == 1 then
    for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
      local found = {}
      for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
      if found['name'] == fn then group = found end
    end
  end
  local events, entries, firstPending, exactPending = 0, 0, '', 1
  if group and group['pending'] > 0 then
    events, entries, firstPending = pendingOf(stream, fn)
    if entries < group['pending'] then exactPending = 0 end
  end
  -- A lost group is recreated behind the last commit.
  local after = group and group['last-delivered-id'] or c[9] or '0-0'
  local lag, exactLag, firstUndelivered = undelivered(stream, after, c[3] or '0-0', appended)
  reply[k] = {
    group and 1 or 0, even, whole(appended), c[4] or '0', c[5] or '0', c[6] or '0', c[7] or '0', c[8] or '0',
    whole(events), exactPending, whole(lag), exactLag, firstPending, firstUndelivered,
  }
end
return reply
