-- rewrite-letter: replaces one dead letter by a letter with some other fields, in one step. An
-- entry of a stream cannot be changed: the new letter is added, and the old one is deleted.
-- KEYS  1 dead letters, 2 held, 3 groups
-- ARGV  1 letter's entry id, 2 unit that it may hold, 3 its fingerprint or '',
--       4.. fields to set (field, value, ...). A field 'original' is set only where there is none
-- reply {'gone'} (replayed, purged or rewritten before: nothing is done) |
--       {'rewritten', id of the new letter}
-- The counts stay: the letter is of the same event, function and group. Where it held its unit, the
-- new one does.
-- The first XDEL deletes nothing: it works under OOM and makes the rest of the script work there
-- too. XADD comes before the second one: where it fails, the old letter is still there.
-- cost  O(bytes of the letter)
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return {'gone'} end
local set, seen, command = {}, {}, {'XADD', KEYS[1], '*'}
for i = 4, #ARGV, 2 do set[ARGV[i]] = ARGV[i + 1] end
local function put(name, value)
  if seen[name] then return end
  seen[name] = true
  command[#command + 1] = name
  command[#command + 1] = value
end
local fields = letter[2]
for i = 1, #fields, 2 do
  local name = fields[i]
  put(name, name ~= 'original' and set[name] or fields[i + 1])
end
for i = 4, #ARGV, 2 do put(ARGV[i], ARGV[i + 1]) end
redis.call('XDEL', KEYS[1], '0-0')
local new = redis.call(unpack(command))
redis.call('XDEL', KEYS[1], ARGV[1])
if ARGV[2] ~= '' and redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then
  redis.call('HSET', KEYS[2], ARGV[2], new)
end
moveLetter(KEYS[3], ARGV[3], ARGV[1], new)
return {'rewritten', new}
