-- parked-record: reads the origin of a parked record. defineScript's `with` puts this file in front
-- of a script.

-- Returns type, entry id, index in the entry and attempts of a ParkedEvent's bytes, without its
-- payload; nil where the bytes are none.
local function originOf(b)
  local at, kind, id, index, attempts = 1, nil, nil, 0, 0
  local function varint()
    local value, factor = 0, 1
    for _ = 1, 10 do
      local byte = string.byte(b, at)
      if not byte then return nil end
      at = at + 1
      if byte < 128 then return value + byte * factor end
      value = value + (byte - 128) * factor
      factor = factor * 128
    end
    return nil
  end
  while at <= #b do
    local tag = varint()
    if not tag then return nil end
    local wire = tag % 8
    if wire == 0 then
      local value = varint()
      if not value then return nil end
      if tag == 32 then index = value
      elseif tag == 48 then attempts = value end
    elseif wire == 1 then at = at + 8
    elseif wire == 5 then at = at + 4
    elseif wire == 2 then
      local size = varint()
      if not size or at + size > #b + 1 then return nil end
      if tag == 18 then
        kind = string.sub(b, at, at + size - 1)
      elseif tag == 26 then
        id = string.sub(b, at, at + size - 1)
      end
      at = at + size
    else return nil end
  end
  if kind and id and string.find(id, '^%d+%-%d+$') then
    return kind, id, index, attempts
  end
  return nil
end
