-- release-running: makes events due whose handlers ran beside the turns. Their owner is gone, or
-- has started over.
-- KEYS  1 lease, 2 counters, 3 due
-- ARGV  1 lease value, 2 TTL in ms, 3 function
-- reply {'stale'} | {'ok', number of units}
-- The field `running:<f>` is described in src/pipeline/lane/in-flight.ts. A unit that is gone, or
-- held, stays as it is.
-- PEXPIRE comes first: it works under OOM and makes the rest of the script work there too.
-- cost  O(units)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'stale'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local field = 'running:' .. ARGV[3]
local text = redis.call('HGET', KEYS[2], field)
if not text then return {'ok', 0} end
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local read, running = pcall(cjson.decode, text)
local units = read and type(running) == 'table' and type(running.units) == 'table' and running.units
  or {}
for _, one in ipairs(units) do
  local unit = tostring(one[1])
  local score = redis.call('ZSCORE', KEYS[3], unit)
  if score and score ~= 'inf' then redis.call('ZADD', KEYS[3], now, unit) end
end
redis.call('HDEL', KEYS[2], field)
return {'ok', #units}
