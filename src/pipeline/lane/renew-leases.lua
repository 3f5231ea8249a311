-- renew-leases: keep the leases of one partition's lanes alive and learn when their next retries are due.
-- KEYS  per lane: lease, due
-- ARGV  1 TTL in ms, then per lane its lease value
-- reply {server time in ms, per lane: '' (lease lost) | 'none' | due time in ms}
-- Only PEXPIRE: works under OOM. cost O(lanes)
local time = redis.call('TIME')
local reply = {string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))}
for i = 1, #KEYS, 2 do
  local lane = (i + 1) / 2
  if redis.call('GET', KEYS[i]) == ARGV[lane + 1] then
    redis.call('PEXPIRE', KEYS[i], ARGV[1])
    local first = redis.call('ZRANGE', KEYS[i + 1], 0, 0, 'WITHSCORES')
    local due = first[2] or 'none'
    if due == 'inf' then due = 'none' end
    reply[lane + 1] = due
  else
    reply[lane + 1] = ''
  end
end
return reply
