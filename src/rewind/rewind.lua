-- rewind: sets the place at which one function goes on in one partition, for all its types, in one
-- step.
-- With src/redis/lua/entries.lua in front.
--
-- KEYS
-- 1. lease
-- 2. counters
-- 3. first set of the inbox
-- 4. second set of the inbox
-- 5. then the streams of its types
-- 6. then the leases of its helpers
--
-- ARGV
-- 1. function
-- 2. '1': go on although foreign entries are not counted; else '0'
-- 3. '1': a recount; else '0'
-- 4. then four values for each stream
--
-- The four values of a stream are
-- - type
-- - id after which the function goes on; '$': behind the last entry
-- - `exact:<type>` as the caller has seen it, or '0-0'
-- - events behind that id, up to and including `exact:<type>`
--
-- Returns
-- - {'unknown'}: the function is not registered here
-- - {'again', type}: adopt, look again, call again
-- - {'ok', ...}: for each stream the id, and the events that will be delivered
--
-- The lease is taken away: a turn under way can no longer commit, and its owner comes back under a
-- new epoch. `rewound:<function>` tells that owner that nothing was wrong.
--
-- The group is destroyed and created, in place of XACK and XGROUP SETID. The pending list goes at
-- once, whatever its length, so nothing is left half done.
--
-- The inbox forgets everything, so that redelivered events run again. done starts again at 0. base
-- is set so that the sum holds: events to come, parked, dead and purged are the events appended for
-- the function. A repeated call does the same again.
--
-- In a recount nobody wants to see events again: they come again because a group was lost. The
-- inbox and base are kept. done is kept too, less the events that are counted once more. base is
-- lowered only where done is not enough, for dead events that will die again.
--
-- Cost: O(types + pending).
local fn = ARGV[1]
if redis.call('HEXISTS', KEYS[2], 'start:' .. fn) == 0 then return {'unknown'} end
-- As countOf and idOf of counts.lua: a text that is no number, or no id, stops nothing.
local function counter(field)
  local text = redis.call('HGET', KEYS[2], field)
  return text and string.find(text, '^%-?%d+$') and tonumber(text) or 0
end
local function whole(x) return string.format('%.0f', x) end
local recount = ARGV[3] == '1'
local last = 4 + (#ARGV - 3) / 4
-- Look first, then write.
local plan = {}
for i = 5, last do
  local a = 4 + (i - 5) * 4
  local t, id, seen, counted = ARGV[a], ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3])
  local exact = string.match(redis.call('HGET', KEYS[2], 'exact:' .. t) or '', '^%d+%-%d+$')
    or '0-0'
  if ARGV[2] ~= '1'
    and (redis.call('XLEN', KEYS[i]) ~= counter('entries:' .. t) or exact ~= seen)
  then
    return {'again', t}
  end
  if id == '$' then
    local last = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)[1]
    plan[i] = {t, last and last[1] or '0-0', 0}
  else
    local ahead = counted
    local from = compareIds(id, seen) > 0 and id or seen
    -- The first entry whose ordinal is reliable.
    local page = redis.call('XRANGE', KEYS[i], '(' .. from, '+', 'COUNT', 1)
    if page[1] then
      local n, o
      local fields = page[1][2]
      for f = 1, #fields, 2 do
        if fields[f] == 'n' then
          n = tonumber(fields[f + 1])
        elseif fields[f] == 'o' then
          o = tonumber(fields[f + 1])
        end
      end
      if o and n then ahead = ahead + counter('appended:' .. t) - (o - n) end
    end
    plan[i] = {t, id, ahead}
  end
end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'rewound:' .. fn, counter('epoch:' .. fn))
if not recount then redis.call('UNLINK', KEYS[3], KEYS[4]) end
for i = last + 1, #KEYS do redis.call('DEL', KEYS[i]) end
local reply = {'ok'}
for i = 5, last do
  local t, id, ahead = plan[i][1], plan[i][2], plan[i][3]
  local at = ':' .. fn .. ':' .. t
  redis.call('XGROUP', 'DESTROY', KEYS[i], fn)
  redis.call('XGROUP', 'CREATE', KEYS[i], fn, id, 'MKSTREAM')
  local kept = counter('parked' .. at) + counter('dead' .. at) + counter('purged' .. at)
  local base, done = counter('appended:' .. t) - ahead - kept, 0
  if recount then
    done = math.max(0, base - counter('base' .. at))
    base = base - done
  else redis.call('HSET', KEYS[2], 'skipped' .. at, 0) end
  redis.call('HSET', KEYS[2], 'done' .. at, whole(done), 'base' .. at, whole(base), 'at' .. at, id)
  redis.call('HDEL', KEYS[2], 'recount' .. at)
  reply[#reply + 1] = id
  reply[#reply + 1] = whole(ahead)
end
return reply
