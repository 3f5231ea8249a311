-- hold-trend: takes, keeps or gives back the lease of the trend. Its owner alone takes samples. The
-- lease only spares reads: add-samples and save-marks are right without it.
-- KEYS  1 lease, 2 state (hash)
-- ARGV  1 owner, 2 TTL in ms, 0 to give the lease back
-- reply {server time in ms, the owner now, or '': nobody, revision of the state, or '': no state}
-- DEL and PEXPIRE come first: both work under OOM and make the rest of the script work there, too.
-- cost  O(1)
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local owner = redis.call('GET', KEYS[1])
local revision = redis.call('HGET', KEYS[2], '#revision') or ''
if tonumber(ARGV[2]) == 0 then
  if owner == ARGV[1] then
    redis.call('DEL', KEYS[1])
    owner = false
  end
  return {now, owner or '', revision}
end
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif not owner then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  owner = ARGV[1]
end
return {now, owner, revision}
