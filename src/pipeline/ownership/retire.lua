-- retire: removes a helper's consumer, if no entry is pending for it. The check and the removal are
-- one step, because XGROUP DELCONSUMER drops pending entries.
-- KEYS  1 lease, 2 counters, 3 helpers, 4.. streams of the function's types
-- ARGV  1 lease value, 2 function, 3 lane name, 4 consumer
-- reply 1 | 0 (nothing was done: entries are pending, or the lease is lost)
-- cost  O(consumers x types)
if not holdsLease(KEYS[1], KEYS[2], ARGV[3], ARGV[1], nil) then return 0 end
local there = {}
for i = 4, #KEYS do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[i], ARGV[2])
  if not consumers.err then
    for _, consumer in ipairs(consumers) do
      local info = {}
      for j = 1, #consumer, 2 do info[consumer[j]] = consumer[j + 1] end
      if info.name == ARGV[4] then
        if info.pending > 0 then return 0 end
        there[#there + 1] = KEYS[i]
      end
    end
  end
end
for _, stream in ipairs(there) do redis.call('XGROUP', 'DELCONSUMER', stream, ARGV[2], ARGV[4]) end
redis.call('SREM', KEYS[3], ARGV[4])
redis.call(
  'HDEL', KEYS[2], 'open:' .. ARGV[3], 'opener:' .. ARGV[3], 'presumed:' .. ARGV[3],
  'lives:' .. ARGV[3], 'crash:' .. ARGV[3], 'suspect:' .. ARGV[3], 'turn:' .. ARGV[3]
)
return redis.call('DEL', KEYS[1])
