-- replayed-events: looks for replayed events in their parked lists, with parked-record.lua in
-- front.
-- KEYS  parked lists
-- ARGV  per list: number of its events, then per event: type, entry id, index in the entry. Entries
--       of several types may have the same id
-- reply per event
-- - 'waits': it is in the list, and was not tried since
-- - 'failed': it is in the list, and was tried
-- - 'gone': it is not in the list
-- - 'unseen': it is not among the records looked at, and the list has more
--
-- The first 64 records of a list are looked at, and of all lists together some 2 MB. Records leave
-- a list at its head only. So an event comes to the first records in time.
-- cost  O(lists x 64 records), bounded by the bytes
local RECORDS, PAGE, BYTES = 64, 8, 2000000
local out, arg, bytes = {}, 0, 0

-- Returns the attempts of the records looked at, by `<type>/<entry id>/<index>`, and whether there
-- are more.
local function look(list)
  local seen = {}
  for from = 0, RECORDS - 1, PAGE do
    if bytes > BYTES then return seen, true end
    local records = redis.pcall('LRANGE', list, from, from + PAGE - 1)
    if records.err then return seen, true end
    for _, record in ipairs(records) do
      bytes = bytes + #record
      local kind, entry, index, attempts = originOf(record)
      if kind then
        seen[kind .. '/' .. entry .. '/' .. string.format('%.0f', index)] = attempts
      end
    end
    if #records < PAGE then return seen, false end
  end
  return seen, redis.call('LLEN', list) > RECORDS
end

for i = 1, #KEYS do
  local seen, more = look(KEYS[i])
  local events = tonumber(ARGV[arg + 1])
  for e = 1, events do
    local attempts = seen[table.concat(ARGV, '/', arg + 3 * e - 1, arg + 3 * e + 1)]
    if attempts then out[#out + 1] = attempts > 0 and 'failed' or 'waits'
    else out[#out + 1] = more and 'unseen' or 'gone' end
  end
  arg = arg + 1 + 3 * events
end
return out
