-- register: makes a function known in one partition: its consumer groups, and the place where its
-- counting starts.
-- KEYS  1 counters, 2.. the streams of its types
-- ARGV  1 function, 2 'start' | 'end', 3 ordering: 'key' | 'none',
--       4 'unsafe' (the function must not see old events again) or '', 5.. its types,
--       in the order of the streams
-- reply per stream: 'created' | 'exists' |
--       'recreated' (the group was lost: recreated behind the last commit, or at 0) |
--       'recount' (as 'recreated', now or in an earlier call, with ordering 'none')
-- After 'recount' the events behind that place are delivered again, although other consumers had
-- settled some. A rewind to the place is to take those off the counters.
-- Run adopt.lua first where startFrom is 'end', so that earlier foreign entries do not count as new
-- ones.
-- HDEL comes first: it works under OOM and makes the rest of the script work there too (consumers
-- free memory).
-- cost  O(types)
local fn = ARGV[1]
redis.call('HDEL', KEYS[1], '')
local reply = {}
for i = 2, #KEYS do
  local t = ARGV[i + 3]
  local base = 'base:' .. fn .. ':' .. t
  local known = redis.call('HEXISTS', KEYS[1], base) == 1
  local from = '0'
  if known then
    from = idOf(redis.call('HGET', KEYS[1], 'at:' .. fn .. ':' .. t))
  elseif ARGV[2] == 'end' then
    from = '$'
  end
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[i], fn, from, 'MKSTREAM')
  if made.err then
    if string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then return redis.error_reply(made.err) end
    reply[i - 1] = 'exists'
  else
    reply[i - 1] = known and 'recreated' or 'created'
    if known and ARGV[3] == 'none' then
      redis.call('HSET', KEYS[1], 'recount:' .. fn .. ':' .. t, '1')
    end
  end
  if redis.call('HEXISTS', KEYS[1], 'recount:' .. fn .. ':' .. t) == 1 then
    reply[i - 1] = 'recount'
  end
  if not known then
    local before = 0
    if ARGV[2] == 'end' then
      before = countOf(redis.call('HGET', KEYS[1], 'appended:' .. t))
      -- A group that is lost before its first commit is recreated here, not at 0.
      for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[i])) do
        local info = {}
        for j = 1, #group, 2 do info[group[j]] = group[j + 1] end
        if info.name == fn then
          redis.call('HSET', KEYS[1], 'at:' .. fn .. ':' .. t, info['last-delivered-id'])
        end
      end
    else
      before = countOf(redis.call('HGET', KEYS[1], 'trimmed:' .. t))
    end
    redis.call('HSET', KEYS[1], base, string.format('%.0f', before))
  end
end
local types = {}
for i = 5, #ARGV do types[#types + 1] = ARGV[i] end
redis.call(
  'HSET', KEYS[1], 'start:' .. fn, ARGV[2], 'ordering:' .. fn, ARGV[3], 'types:' .. fn,
  table.concat(types, ',')
)
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[1], 'replay:' .. fn)
else
  redis.call('HSET', KEYS[1], 'replay:' .. fn, ARGV[4])
end
return reply
