-- set-aside: moves an unreadable parked record to the dead letters, whole, so that the records
-- behind it go on.
-- KEYS  1 lease, 2 counters, 3 due, 4 dead letters, 5 held, 6 parked list, 7 arrived, 8 groups
-- ARGV  1 lease value, 2 function, 3 unit, 4 the record's bytes, 5 type,
--       6 events that the record stands for, 7 '1' where the letter holds its unit,
--       8 the letter's fingerprint, 9 description of its group,
--       10.. fields of the letter (field, value, ...) without the bytes
-- reply {'stale'} | {'gone'} (the record is not there any more) | {'aside', id of the letter}
-- A key that is no list is the record itself: a string's value, else the key's DUMP.
-- LREM and UNLINK come first: they work under OOM and make the rest of the script work there too.
-- cost  O(records of the list)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'stale'} end
local kind, bytes = redis.call('TYPE', KEYS[6]).ok, ARGV[4]
if kind == 'none' then return {'gone'} end
if kind == 'list' then
  if redis.call('LREM', KEYS[6], 1, bytes) == 0 then return {'gone'} end
else
  bytes = kind == 'string' and redis.call('GET', KEYS[6]) or redis.call('DUMP', KEYS[6])
  redis.call('UNLINK', KEYS[6])
end
local fn, unit, t, events = ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[6])
local command = {'XADD', KEYS[4], '*', 'event', bytes}
for i = 10, #ARGV do command[#command + 1] = ARGV[i] end
local letter = redis.call(unpack(command))
local found, time = {}, redis.call('TIME')
noteLetter(found, ARGV[8], ARGV[9], letter)
countLetters(KEYS[8], found, tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
if events > 0 then
  addTo(KEYS[2], 'parked:' .. fn .. ':' .. t, -events)
  addTo(KEYS[2], 'dead:' .. fn .. ':' .. t, events)
end
local held = redis.call('HEXISTS', KEYS[5], unit) == 1
if ARGV[7] == '1' then
  held = true
  redis.call('HSET', KEYS[5], unit, letter)
  redis.call('ZADD', KEYS[3], '+inf', unit)
elseif redis.call('EXISTS', KEYS[6]) == 0 and not held then
  redis.call('ZREM', KEYS[3], unit)
end
noteHead(KEYS[7], unit, KEYS[6], held)
return {'aside', letter}
