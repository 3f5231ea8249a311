-- not-dead: notes that an owner lives that has lost its lease, by a stall, a pause of Redis or a
-- jump of its clock. Nobody died, so no event is charged with a death.
-- KEYS  1 counters
-- ARGV  1 function, 2 lane name, 3 the owner's lease value,
--       4 address of the event that the owner has marked (mark-suspect.lua), or ''
-- reply the epoch of the function's last rewind, or 0
-- Where the next owner has counted a death already, the count is taken back. Else the next owner
-- has nothing to count.
-- Sent again, it does nothing more.
-- cost  O(1)
local lane, value = ARGV[2], ARGV[3]
local opener = redis.call('HGET', KEYS[1], 'opener:' .. lane) or ''
-- The same dispatcher may have come again already. Its mark is its own all the same.
local mine = string.match(opener, '^(.*):%d+$') == string.match(value, '^(.*):%d+$')
if opener == value then
  redis.call('HDEL', KEYS[1], 'open:' .. lane, 'opener:' .. lane)
end
local presumed, found = {}, false
for one in string.gmatch(redis.call('HGET', KEYS[1], 'presumed:' .. lane) or '', '%S+') do
  if one == value or one == value .. '!' then
    found = true
    local times, place = string.match(
      redis.call('HGET', KEYS[1], 'crash:' .. lane) or '', '^(%d+) (.*)$'
    )
    if times and one ~= value then
      if tonumber(times) > 1 then
        redis.call('HSET', KEYS[1], 'crash:' .. lane, tonumber(times) - 1 .. ' ' .. place)
      else redis.call('HDEL', KEYS[1], 'crash:' .. lane) end
    end
  else
    presumed[#presumed + 1] = one
  end
end
if found then
  if #presumed > 0 then
    redis.call('HSET', KEYS[1], 'presumed:' .. lane, table.concat(presumed, ' '))
  else redis.call('HDEL', KEYS[1], 'presumed:' .. lane) end
end
if ARGV[4] ~= '' and (mine or found) then
  local deaths, address = string.match(
    redis.call('HGET', KEYS[1], 'suspect:' .. lane) or '', '^(%d+) (.+)$'
  )
  if address ~= ARGV[4] then
    -- The next owner remembers the death: mark-suspect.lua takes it off.
    local lives, of = string.match(
      redis.call('HGET', KEYS[1], 'lives:' .. lane) or '', '^(%d+) (.+)$'
    )
    redis.call(
      'HSET', KEYS[1], 'lives:' .. lane,
      (of == ARGV[4] and tonumber(lives) or 0) + 1 .. ' ' .. ARGV[4]
    )
  elseif tonumber(deaths) > 0 then
    redis.call('HSET', KEYS[1], 'suspect:' .. lane, tonumber(deaths) - 1 .. ' ' .. address)
  end
end
return tonumber(redis.call('HGET', KEYS[1], 'rewound:' .. ARGV[1]) or '0')
