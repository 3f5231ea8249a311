-- seen: finds the events that the function has settled lately. Reads only: commit.lua remembers
-- settled events.
-- KEYS  1, 2 sets of identities, of two windows that take turns
-- ARGV  identities (src/wire/event-identity.ts)
-- reply places in ARGV, from 0, of identities that are in a set
-- cost  O(ids)
local out = {}
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then return out end
for from = 1, #ARGV, 500 do
  local to = math.min(#ARGV, from + 499)
  local one = redis.call('SMISMEMBER', KEYS[1], unpack(ARGV, from, to))
  local other = redis.call('SMISMEMBER', KEYS[2], unpack(ARGV, from, to))
  for i = 1, #one do
    if one[i] == 1 or other[i] == 1 then out[#out + 1] = from + i - 2 end
  end
end
return out
