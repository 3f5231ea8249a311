-- load-rows: the rows a batch of a view stands on, as one block past the dispatcher, which does not look inside.
-- KEYS  rows
-- ARGV  1 how many bytes of each key come before the row's id
-- reply MessagePack list: id, row, id, row, ... ('' where there is none), in the order of the keys
-- cost  O(rows)
local from = tonumber(ARGV[1]) + 1
local out = {}
for first = 1, #KEYS, 2000 do
  local last = math.min(first + 1999, #KEYS)
  local rows = redis.call('MGET', unpack(KEYS, first, last))
  for i = first, last do
    out[2 * i - 1] = string.sub(KEYS[i], from)
    out[2 * i] = rows[i - first + 1] or ''
  end
end
return cmsgpack.pack(out)
