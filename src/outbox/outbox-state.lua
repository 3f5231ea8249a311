-- outbox-state: measures one partition's outbox, in all and for each target. Reads only.
--
-- KEYS
-- 1. outbox (stream)
-- 2. counters
--
-- ARGV
-- 1. most entries to look into
--
-- Returns
-- 1. server time in ms
-- 2. entries
-- 3. bytes
-- 4. id of the oldest entry, or ''
-- 5. entries looked into
-- 6. then, for each target: target, entries, events, id of its oldest entry
--
-- Cost: O(entries looked into), each with its bytes.
local time = redis.call('TIME')
local most, page = tonumber(ARGV[1]), 32
local targets, order, looked, from, oldest = {}, {}, 0, '-', ''
while looked < most do
  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', math.min(page, most - looked))
  for _, entry in ipairs(entries) do
    if oldest == '' then oldest = entry[1] end
    local fields, to, events = entry[2], nil, 0
    for f = 1, #fields, 2 do
      local name = fields[f]
      if name == 'to' then
        to = fields[f + 1]
      elseif name == 'n' then
        events = events + countOf(fields[f + 1])
      elseif name == 'when' then
        events = events + 1
      end
    end
    if to then
      local target = targets[to]
      if not target then
        target = {to, 0, 0, entry[1]}
        targets[to] = target
        order[#order + 1] = target
      end
      target[2] = target[2] + 1
      target[3] = target[3] + events
    end
    looked = looked + 1
  end
  if #entries < page then break end
  from = '(' .. entries[#entries][1]
end
local reply = {
  string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)),
  redis.call('XLEN', KEYS[1]), countOf(redis.call('HGET', KEYS[2], 'outbox')), oldest, looked,
}
for _, target in ipairs(order) do
  for i = 1, 4 do reply[#reply + 1] = target[i] end
end
return reply
