-- entries: reads ids and events of stream entries. defineScript's `with` puts this file in front of
-- a script.

-- Compares entry ids: -1, 0 or 1. As text, because a sequence may exceed a Lua number.
local function compareIds(a, b)
  local aMs, aSeq = string.match(a, '^(%d+)-(%d+)$')
  local bMs, bSeq = string.match(b, '^(%d+)-(%d+)$')
  if #aMs ~= #bMs then return #aMs < #bMs and -1 or 1 end
  if aMs ~= bMs then return aMs < bMs and -1 or 1 end
  if #aSeq ~= #bSeq then return #aSeq < #bSeq and -1 or 1 end
  if aSeq ~= bSeq then return aSeq < bSeq and -1 or 1 end
  return 0
end

-- JavaScript's Number(text) where that is a whole number from 1 to 65536, else nil.
local function parseCount(text)
  local s = string.match(text, '^%s*(.-)%s*$')
  local n
  if string.find(s, '^0[xX]%x+$') then n = tonumber(string.sub(s, 3), 16)
  elseif string.find(s, '^0[bB][01]+$') then n = tonumber(string.sub(s, 3), 2)
  elseif string.find(s, '^0[oO][0-7]+$') then n = tonumber(string.sub(s, 3), 8)
  elseif string.find(s, '^%+?%d[%d.]*[eE]?[+-]?%d*$')
    or string.find(s, '^%+?%.%d[%d]*[eE]?[+-]?%d*$')
  then
    n = tonumber(s)
  end
  if n and n >= 1 and n <= 65536 and n == math.floor(n) then return n end
  return nil
end

-- Counts the events of an EventBatch (its field 3), as countEvents of batch-reader.ts does. Returns
-- 1 where the bytes are no EventBatch.
local function countEvents(b)
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
  -- Reads a tag: five bytes at most, and no field number 0.
  local function tagHere()
    local from = at
    local tag = varint(true)
    if not tag or tag < 8 or tag > 4294967295 or at - from > 5 then return nil end
    return tag
  end
  -- Passes over the value behind a tag. Returns false where there is none.
  local function skip(tag, depth)
    local wire = tag % 8
    if wire == 0 then return varint(false) ~= nil
    elseif wire == 1 then at = at + 8
    elseif wire == 5 then at = at + 4
    elseif wire == 2 then
      local size = varint(true)
      if not size then return false end
      at = at + size
    elseif wire == 3 and depth < 100 then
      -- A group ends at the same field number with wire type 4.
      while true do
        local inner = tagHere()
        if not inner then return false end
        if inner == tag + 1 then return true end
        if not skip(inner, depth + 1) then return false end
      end
    else return false end
    return at <= stop + 1
  end
  while at <= stop do
    local tag = tagHere()
    if not tag then return 1 end
    if tag == 26 then events = events + 1 end
    if not skip(tag, 0) then return 1 end
  end
  return math.max(1, events)
end

-- Returns the events of an entry as the lane's reader counts them, and the entry's ordinal.
-- - events: `n` where that is a whole number from 1 to 65536, else those in `b`, else 1
-- - ordinal: `o`, nil for a foreign entry
local function measure(entry)
  local fields = entry[2]
  local b, n, o = '', '', nil
  for f = 1, #fields, 2 do
    local name = fields[f]
    if name == 'b' then
      b = fields[f + 1]
    elseif name == 'n' then
      n = fields[f + 1]
    elseif name == 'o' then
      o = tonumber(fields[f + 1])
    end
  end
  return parseCount(n) or countEvents(b), o
end

