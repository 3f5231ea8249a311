-- remove-function: removes a function from one partition. Its parked lists go first, page by page.
-- Its groups, keys and counters go in the last step.
--
-- KEYS
-- 1. lease
-- 2. counters
-- 3. due
-- 4. held
-- 5. dead letters
-- 6. first set of the inbox
-- 7. second set of the inbox
-- 8. helpers
-- 9. arrived
-- 10. groups
-- 11. then streams, or parked lists
--
-- ARGV
-- 1. function
-- 2. 'look' | 'lists' | 'rest'
-- 3. for 'lists': units, in the order of the lists
-- 4. for 'rest': types, in the order of the streams
--
-- Returns
-- - {'owned', lease value}: a dispatcher runs the function
-- - {'look', parked units, dead letters, pending entries}
-- - {'ok'}
--
-- The counters that make the function known go last, in the same step as its groups. After an
-- interruption it is therefore still known, and can be removed again.
--
-- Cost: O(events of the lists), or O(pending + counters).
local lease = redis.call('GET', KEYS[1])
if lease then return {'owned', lease} end
local fn, step = ARGV[1], ARGV[2]
if step == 'look' then
  local pending = 0
  for i = 11, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 1 then
      for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[i])) do
        local info = {}
        for j = 1, #group, 2 do info[group[j]] = group[j + 1] end
        if info.name == fn then pending = pending + info.pending end
      end
    end
  end
  return {'look', redis.call('ZCARD', KEYS[3]), redis.call('XLEN', KEYS[5]), pending}
end
if step == 'lists' then
  for i = 11, #KEYS do
    redis.call('UNLINK', KEYS[i])
    redis.call('ZREM', KEYS[3], ARGV[i - 8])
  end
  return {'ok'}
end
redis.call('UNLINK', unpack(KEYS, 3, 10))
for i = 11, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('XGROUP', 'DESTROY', KEYS[i], fn) end
end
local OWN = {
  epoch = true, open = true, opener = true, presumed = true, lives = true, crash = true,
  suspect = true, turn = true, start = true, types = true, ordering = true, retried = true,
  replay = true, unremembered = true, unparked = true, pass = true, rewound = true, running = true,
}
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  local second, rest = string.match(field, '^[^:]+:([^:]+)(.*)$')
  -- Fields such as `done:<f>:<t>` and `epoch:<f>`. `appended:<t>` stays: a type may bear the
  -- function's name.
  local state = string.match(field, '^[^:]+')
  local own = rest == '' and OWN[state]
  -- `turn:<f>#<helper>`
  local helper = second and string.sub(second, 1, #fn + 1) == fn .. '#'
  if helper or second == fn and (own or (rest ~= '' and string.sub(rest, 1, 1) == ':')) then
    redis.call('HDEL', KEYS[2], field)
  end
end
return {'ok'}
