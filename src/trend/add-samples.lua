-- add-samples: adds one sample to each stream. Each stream has one sample of a time at most, so the
-- script may run again. It keeps every stream within its bound.
-- KEYS  1 … streams
-- ARGV  1 time of the samples, ms, 2 most samples of a stream, 3 TTL of a stream, ms, 4 distance by
--       which a sample may be ahead, ms, 5 … a sample for each stream
-- reply {number of samples added, first refusal, or ''}
-- A sample ahead by more than ARGV 4 comes from a clock that was wrong. No sample could follow it
-- for that long, so its stream begins anew.
-- XTRIM comes before XADD: it works under OOM and makes the rest of the script work there, too. A
-- stream at its bound gives back the memory that it takes.
-- cost  O(streams)
local at, most, ttl, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local added, refusal = 0, ''
local function failed(reply)
  if type(reply) ~= 'table' or not reply.err then return false end
  if refusal == '' then refusal = reply.err end
  return true
end
for i = 1, #KEYS do
  local last = redis.pcall('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)
  if not failed(last) then
    local newest = last[1] and tonumber(string.match(last[1][1], '^%d+')) or -1
    if newest - at > ahead then
      redis.call('DEL', KEYS[i])
      newest = -1
    end
    if newest < at then
      redis.call('XTRIM', KEYS[i], 'MAXLEN', most - 1)
      if not failed(redis.pcall('XADD', KEYS[i], ARGV[1] .. '-0', 's', ARGV[4 + i])) then
        redis.call('PEXPIRE', KEYS[i], ttl)
        added = added + 1
      end
    end
  end
end
return {added, refusal}
