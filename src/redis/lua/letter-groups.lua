-- letter-groups: keeps the hash `groups:<f>`: how many dead letters of each fingerprint there are.
-- defineScript's `with` puts this file in front of a script.
--
-- A field is a fingerprint (src/core/letter-fingerprint.ts). Its value is JSON:
-- - n: letters that are there
-- - first, last: server time at which the first and the last of them came, ms. The first one may be
--   gone meanwhile
-- - letter: id of the last one; '' where that one is gone
-- - hour, hours: letters that came in this hour since 1970, and in the 23 hours before it
-- - about: JSON, for readers
--
-- The hash has at most 100 fingerprints. Letters of further ones count under the field `other`.
-- Letters of older versions have no fingerprint, and count nowhere: they are the difference to the
-- length of the stream.
--
-- pcall: the hash is for readers only, so a foreign key or text in its place stops nothing.
local MOST_GROUPS, HOURS, HOUR_MS, OTHERS = 100, 24, 3600000, 'other'

-- Returns a group; nil: there is none, or its text is no group.
local function groupAt(key, field)
  local text = redis.pcall('HGET', key, field)
  if type(text) ~= 'string' then return nil end
  local ok, group = pcall(cjson.decode, text)
  if not ok or type(group) ~= 'table' or type(group.hours) ~= 'table' then return nil end
  for _, name in ipairs({'n', 'first', 'last', 'hour'}) do
    if type(group[name]) ~= 'number' then return nil end
  end
  if group.n < 1 or type(group.about) ~= 'string' then return nil end
  return group
end

local function putGroup(key, field, group)
  redis.pcall('HSET', key, field, cjson.encode(group))
end

local function addToHour(group, hour, by)
  local ahead, hours = hour - group.hour, {}
  for i = 1, HOURS do
    local from = i - math.max(0, ahead)
    hours[i] = from >= 1 and tonumber(group.hours[from]) or 0
  end
  -- The clock may have gone back.
  local at = 1 - math.min(0, ahead)
  if at <= HOURS then hours[at] = hours[at] + by end
  group.hour, group.hours = math.max(group.hour, hour), hours
end

-- Notes a letter for countLetters. `letter` false: it was not written, but describes its group.
local function noteLetter(found, fingerprint, about, letter)
  local new = found[fingerprint] or {n = 0, about = ''}
  found[fingerprint] = new
  if about ~= '' then new.about = about end
  if letter then new.n, new.letter = new.n + 1, letter end
end

-- Counts the letters noted, each group once.
local function countLetters(key, found, now)
  local hour = math.floor(now / HOUR_MS)
  for fingerprint, new in pairs(found) do
    if new.n > 0 then
      local field, about = fingerprint, new.about
      local group = groupAt(key, field)
      if not group then
        local size = redis.pcall('HLEN', key)
        if type(size) ~= 'number' then return end
        local others = redis.pcall('HEXISTS', key, OTHERS)
        if size - others >= MOST_GROUPS and redis.pcall('HEXISTS', key, field) == 0 then
          field, about = OTHERS, ''
          group = groupAt(key, field)
        end
      end
      group = group or {n = 0, first = now, hour = hour, hours = {}, about = about}
      group.n, group.last, group.letter = group.n + new.n, now, new.letter
      addToHour(group, hour, new.n)
      putGroup(key, field, group)
    end
  end
end

-- Notes for uncountLetters that a letter is gone. '' is the fingerprint of a letter without one.
local function noteLetterGone(gone, fingerprint, letter)
  if fingerprint == '' then return end
  local out = gone[fingerprint] or {n = 0, letters = {}}
  gone[fingerprint] = out
  out.n, out.letters[letter] = out.n + 1, true
end

-- Takes the letters noted off the counts, each group once. A letter may have come while the hash
-- was full: it is then taken off the others. Once no letter is left (`left` 0), nothing is counted.
-- So counts that another program has made wrong are right again.
local function uncountLetters(key, gone, left)
  local size = left == 0 and redis.pcall('HLEN', key)
  if type(size) == 'number' then
    if size > 0 then redis.pcall('UNLINK', key) end
    return
  end
  for fingerprint, out in pairs(gone) do
    local more = out.n
    for _, field in ipairs({fingerprint, OTHERS}) do
      local group = more > 0 and groupAt(key, field)
      if group then
        local taken = math.min(more, group.n)
        more, group.n = more - taken, group.n - taken
        if group.n == 0 then redis.pcall('HDEL', key, field)
        else
          if out.letters[group.letter] then group.letter = '' end
          putGroup(key, field, group)
        end
      end
    end
  end
end

-- A letter has taken the place of another one of its group.
local function moveLetter(key, fingerprint, from, to)
  for _, field in ipairs({fingerprint, OTHERS}) do
    local group = field ~= '' and groupAt(key, field)
    if group and group.letter == from then
      group.letter = to
      putGroup(key, field, group)
    end
  end
end
