-- read-groups: reads how many dead letters each function of a partition has, and their groups.
-- KEYS  per function: dead letters, groups
-- reply per function {letters, groups: field, value, ...}. letters: '' where the key is no stream.
--       groups: '' where the key is no hash
-- cost  O(groups)
local out = {}
for i = 1, #KEYS, 2 do
  local letters = redis.pcall('XLEN', KEYS[i])
  local groups = redis.pcall('HGETALL', KEYS[i + 1])
  out[#out + 1] = {type(letters) == 'number' and letters or '', groups.err and '' or groups}
end
return out
