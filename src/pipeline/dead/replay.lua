-- replay: one dead letter back into the parked list of its unit, in one step. Sent again it changes nothing.
-- KEYS  1 dead letters, 2 parked list, 3 due, 4 counters
-- ARGV  1 letter's entry id, 2 function, 3 type, 4 unit, 5 ParkedEvent bytes
-- reply {'gone'} (replayed or purged before; nothing is done) | {'replayed', length of the list now}
-- XDEL comes first: it works under OOM and makes the rest of the script work there too.
-- cost  O(log(units))
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return {'gone'} end
local length = redis.call('RPUSH', KEYS[2], ARGV[5])
if length == 1 then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[3], string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)), ARGV[4])
end
redis.call('HINCRBY', KEYS[4], 'dead:' .. ARGV[2] .. ':' .. ARGV[3], -1)
redis.call('HINCRBY', KEYS[4], 'parked:' .. ARGV[2] .. ':' .. ARGV[3], 1)
return {'replayed', length}
