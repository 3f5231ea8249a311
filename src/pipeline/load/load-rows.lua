-- load-rows: reads the rows that a view's batch is folded onto. The reply is one block, which the
-- dispatcher passes on unread.
-- KEYS  rows
-- ARGV  1 number of bytes of each key before the row's id
-- reply MessagePack list: id, row, id, row, ... in the order of the keys. row: '' without one,
--       '!<type>' for a key of another type
-- cost  O(rows)
local from = tonumber(ARGV[1]) + 1
local out = {}
for first = 1, #KEYS, 2000 do
  local last = math.min(first + 1999, #KEYS)
  local rows = redis.call('MGET', unpack(KEYS, first, last))
  local absent = {}
  for i = first, last do
    local row = rows[i - first + 1]
    if not row then absent[#absent + 1] = KEYS[i] end
    out[2 * i - 1] = string.sub(KEYS[i], from)
    out[2 * i] = row or ''
  end
  -- MGET reports a key of another type as absent.
  if #absent > 0 and redis.call('EXISTS', unpack(absent)) > 0 then
    for i = first, last do
      if out[2 * i] == '' then
        local kind = redis.call('TYPE', KEYS[i]).ok
        if kind ~= 'none' and kind ~= 'string' then out[2 * i] = '!' .. kind end
      end
    end
  end
end
return cmsgpack.pack(out)
