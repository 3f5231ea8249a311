-- set-record-aside: moves an unreadable record of the outbox or of the schedule to the dead
-- letters, whole.
-- KEYS  1 outbox (stream) | scheduled (zset), 2 dead letters, 3 counters,
--       4 scheduled events (hash; of the outbox: unused), 5 groups
-- ARGV  1 name in the dead letters: '_outbox' | '_schedule', 2 entry id | member of the zset,
--       3 '' | field of the hash,
--       4 '' | the record's bytes as they were read, 5 type, 6 events of the record,
--       7 bytes of the record in the outbox's count,
--       8 the letter's fingerprint, 9 description of its group,
--       10.. fields of the letter (field, value, ...) without the bytes
-- reply {'gone'} (the record is not there any more, or is another one) |
--       {'aside', id of the letter}
-- The letter of an outbox entry keeps all its fields and values, as one MessagePack array.
-- XDEL and ZREM come first: they work under OOM and make the rest of the script work there too.
-- cost  O(bytes of the record)
local name, place, bytes = ARGV[1], ARGV[2], ARGV[4]
if name == '_outbox' then
  local entry = redis.call('XRANGE', KEYS[1], place, place)[1]
  if not entry then return {'gone'} end
  bytes = cmsgpack.pack(entry[2])
  redis.call('XDEL', KEYS[1], place)
  if tonumber(ARGV[7]) > 0 then addTo(KEYS[3], 'outbox', -tonumber(ARGV[7])) end
else
  if (redis.call('HGET', KEYS[4], ARGV[3]) or '') ~= bytes then return {'gone'} end
  if redis.call('ZREM', KEYS[1], place) == 0 then return {'gone'} end
  redis.call('HDEL', KEYS[4], ARGV[3])
end
local command = {'XADD', KEYS[2], '*', 'event', bytes}
for i = 10, #ARGV do command[#command + 1] = ARGV[i] end
local letter = redis.call(unpack(command))
addTo(KEYS[3], 'dead:' .. name .. ':' .. ARGV[5], ARGV[6])
local found, time = {}, redis.call('TIME')
noteLetter(found, ARGV[8], ARGV[9], letter)
countLetters(KEYS[5], found, tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
return {'aside', letter}
