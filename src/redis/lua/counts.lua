-- counts: the counters of a partition, whatever somebody else has written into one. Put in front of scripts by `with`.
-- A field that is no whole number counts as 0: it costs its own count, and stops nothing. `spoilt:<field>` keeps what it held.
-- src/redis/counters.ts names all fields.

local function countOf(text)
  return text and string.find(text, '^%-?%d+$') and tonumber(text) or 0
end

-- HINCRBY. Returns the sum.
local function addTo(key, field, by)
  local sum = redis.pcall('HINCRBY', key, field, by)
  if type(sum) == 'number' then return sum end
  if not string.find(sum.err, 'not an integer', 1, true) and not string.find(sum.err, 'overflow', 1, true) then
    -- of the key, or of the server: raised as it is
    return redis.call('HINCRBY', key, field, by)
  end
  redis.call('HSET', key, 'spoilt:' .. field, string.sub(redis.call('HGET', key, field), 1, 200), field, by)
  return tonumber(by)
end

-- The id of an entry; 0-0 where the text is none.
local function idOf(text)
  return text and string.find(text, '^%d+%-%d+$') and text or '0-0'
end
