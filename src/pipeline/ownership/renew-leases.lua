-- renew-leases: keeps the leases of one partition's lanes alive. Tells when their next retries are
-- due, and which turn was committed last.
-- KEYS  1 counters, then per lane: lease, due
-- ARGV  1 TTL in ms, then per lane: its lease value, its name
-- reply {server time in ms, per lane: '' (lease lost) |
--       '<due time in ms, or none> <turn id, or nothing>'}
-- A lease that has ended is taken up again where nobody has had the lane since (holds-lease.lua).
-- Works under OOM.
-- cost  O(lanes)
local time = redis.call('TIME')
local reply = {
  string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
}
for i = 2, #KEYS, 2 do
  local lane = i / 2
  if holdsLease(KEYS[i], KEYS[1], ARGV[i + 1], ARGV[i], ARGV[1]) then
    local first = redis.call('ZRANGE', KEYS[i + 1], 0, 0, 'WITHSCORES')
    local due = first[2] or 'none'
    if due == 'inf' then due = 'none' end
    reply[lane + 1] = due .. ' ' .. (redis.call('HGET', KEYS[1], 'turn:' .. ARGV[i + 1]) or '')
  else
    reply[lane + 1] = ''
  end
end
return reply
