-- counts: the counters of a partition, proof against foreign writes. defineScript's `with` puts
-- this file in front of scripts. src/redis/counters.ts names all fields.
--
-- A field that is no whole number counts as 0: it loses its own count, and stops nothing. The field
-- `spoilt:<field>` keeps the foreign text.

local function countOf(text)
  return text and string.find(text, '^%-?%d+$') and tonumber(text) or 0
end

-- HINCRBY that does not fail on a foreign text. Returns the sum.
local function addTo(key, field, by)
  local sum = redis.pcall('HINCRBY', key, field, by)
  if type(sum) == 'number' then return sum end
  if not string.find(sum.err, 'not an integer', 1, true)
    and not string.find(sum.err, 'overflow', 1, true)
  then
    -- The key or the server is the cause: the error is raised as it is.
    return redis.call('HINCRBY', key, field, by)
  end
  redis.call(
    'HSET', key, 'spoilt:' .. field, string.sub(redis.call('HGET', key, field), 1, 200), field, by
  )
  return tonumber(by)
end

-- Returns the text if it is an entry's id, else 0-0.
local function idOf(text)
  return text and string.find(text, '^%d+%-%d+$') and text or '0-0'
end
