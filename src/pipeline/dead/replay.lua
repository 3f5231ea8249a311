-- replay: moves one dead letter back into the parked list of its unit, in one step. Sent again, it
-- changes nothing.
-- KEYS  1 dead letters, 2 parked list, 3 due, 4 counters, 5 held, 6 and 7 the inbox's sets,
--       8 arrived, 9 groups
-- ARGV  1 letter's entry id, 2 function, 3 type, 4 unit, 5 ParkedEvent bytes,
--       6 the event's identity (src/wire/event-identity.ts), 7 the letter's fingerprint or ''
-- reply {'gone'} (replayed or purged before: nothing is done) |
--       {'replayed', length of the list now}
-- A letter that holds its unit goes to the head of the list, before the records that waited for it.
-- It then holds the unit no longer.
-- The event's identity leaves the inbox, because the event is to run again.
-- XDEL comes first: it works under OOM and makes the rest of the script work there too.
-- cost  O(log(units))
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return {'gone'} end
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local length
local _, entry = originOf(ARGV[5])
local arrival = entry and string.match(entry, '^%d+') or '0'
if redis.call('HGET', KEYS[5], ARGV[4]) == ARGV[1] then
  length = redis.call('LPUSH', KEYS[2], ARGV[5])
  redis.call('HDEL', KEYS[5], ARGV[4])
  redis.call('ZADD', KEYS[3], now, ARGV[4])
  if length == 1 then noteFirst(KEYS[8], ARGV[4], arrival, false)
  else noteBefore(KEYS[8], ARGV[4], arrival) end
else
  length = redis.call('RPUSH', KEYS[2], ARGV[5])
  if length == 1 then
    local new = redis.call('ZADD', KEYS[3], 'NX', now, ARGV[4])
    noteFirst(KEYS[8], ARGV[4], arrival, new == 0)
  else noteBehind(KEYS[8], ARGV[4], arrival) end
end
redis.call('SREM', KEYS[6], ARGV[6])
redis.call('SREM', KEYS[7], ARGV[6])
local out = {}
noteLetterGone(out, ARGV[7], ARGV[1])
uncountLetters(KEYS[9], out, redis.call('XLEN', KEYS[1]))
addTo(KEYS[4], 'dead:' .. ARGV[2] .. ':' .. ARGV[3], -1)
addTo(KEYS[4], 'parked:' .. ARGV[2] .. ':' .. ARGV[3], 1)
return {'replayed', length}
