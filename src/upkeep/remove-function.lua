-- remove-function: takes what is left of a function out of one partition. Last step: its groups, keys and counters; the parked
-- lists go before, page by page (ARGV 2).
-- KEYS  1 lease, 2 counters, 3 due, 4 held, 5 dead letters, 6 and 7 the inbox's sets, 8 helpers, then streams, or parked lists
-- ARGV  1 function, 2 'look' | 'lists' | 'rest', then for 'lists': units in the order of the lists; for 'rest': types in the order of the streams
-- reply {'owned', lease value} (a dispatcher runs it) | {'look', parked units, dead letters, pending entries} | {'ok'}
-- The counters that make it known go last, in the same step as its groups: broken off before, it is removed again.
-- cost  O(lists' events), or O(pending + counters)
local lease = redis.call('GET', KEYS[1])
if lease then return {'owned', lease} end
local fn, step = ARGV[1], ARGV[2]
if step == 'look' then
  local pending = 0
  for i = 9, #KEYS do
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
  for i = 9, #KEYS do
    redis.call('UNLINK', KEYS[i])
    redis.call('ZREM', KEYS[3], ARGV[i - 6])
  end
  return {'ok'}
end
redis.call('UNLINK', KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8])
for i = 9, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('XGROUP', 'DESTROY', KEYS[i], fn) end
end
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  local second, rest = string.match(field, '^[^:]+:([^:]+)(.*)$')
  -- `done:<f>:<t>`, `epoch:<f>`; not `appended:<t>`, which a type of the same name would look like
  local state = string.match(field, '^[^:]+')
  local own = rest == '' and (state == 'epoch' or state == 'open' or state == 'opener' or state == 'presumed' or state == 'lives' or state == 'crash' or state == 'suspect' or state == 'turn' or state == 'start'
    or state == 'types' or state == 'ordering' or state == 'retried' or state == 'replay' or state == 'unremembered' or state == 'unparked' or state == 'pass'
    or state == 'rewound' or state == 'running')
  -- `turn:<f>#<helper>`
  local helper = second and string.sub(second, 1, #fn + 1) == fn .. '#'
  if helper or second == fn and (own or (rest ~= '' and string.sub(rest, 1, 1) == ':')) then redis.call('HDEL', KEYS[2], field) end
end
return {'ok'}
