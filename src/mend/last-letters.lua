-- last-letters: reads the id of the last dead letter of each stream.
-- KEYS  streams of dead letters
-- reply per stream the id; '' where it has no letter, or is no stream
-- cost  O(streams)
local out = {}
for i = 1, #KEYS do
  local last = redis.pcall('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)
  out[i] = not last.err and last[1] and last[1][1] or ''
end
return out
