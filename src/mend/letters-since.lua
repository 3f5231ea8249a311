-- letters-since: reads which events have died since a letter, without their bytes.
-- KEYS  1 dead letters
-- ARGV  1 id of the letter, 2 most letters
-- reply per letter: its id, then the event's type, entry id, index in the entry
-- cost  O(bytes of the letters)
local out = {}
for _, letter in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  local found = {type = '', entry = '', index = '0'}
  local fields = letter[2]
  for f = 1, #fields, 2 do
    if found[fields[f]] then found[fields[f]] = fields[f + 1] end
  end
  out[#out + 1] = letter[1]
  out[#out + 1] = found.type
  out[#out + 1] = found.entry
  out[#out + 1] = found.index
end
return out
