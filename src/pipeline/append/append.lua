-- append: one flush of one producer to one partition: an entry per type, all under the same id.
-- KEYS  1 producer, 2 clock, 3 counters, 4.. the streams
-- ARGV  1 sequence of the flush (1, 2, ...), 2 TTL of the producer key in ms,
--       then per stream: type, number of events, CRC-32, EventBatch bytes
-- reply {'ok', entry id} | {'duplicate', entry id of the first time} | {'gap', expected sequence} | {'exhausted', key}
-- Refuses a sequence that is neither the next nor the last. Under OOM the first write fails and nothing is done.
-- cost  O(types) plus the copy of the bytes
local sequence = tonumber(ARGV[1])
local previous = redis.call('GET', KEYS[1])
if previous then
  local colon = string.find(previous, ':', 1, true)
  local last = tonumber(string.sub(previous, 1, colon - 1))
  if sequence == last then
    -- A write, so that a WAIT or WAITAOF sent behind it waits for the first time's data too.
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {'duplicate', string.sub(previous, colon + 1)}
  end
  if sequence ~= last + 1 then return {'gap', string.format('%.0f', last + 1)} end
elseif sequence ~= 1 then
  return {'gap', '1'}
end

local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local seq = 0
local clock = redis.call('HMGET', KEYS[2], 'ms', 'seq')
if clock[1] and tonumber(clock[1]) >= ms then
  ms = tonumber(clock[1])
  seq = tonumber(clock[2]) + 1
end
local function id() return string.format('%.0f-%.0f', ms, seq) end

-- Appends all streams under the current id; on "equal or smaller" (a foreign producer is ahead) returns false and the
-- number of streams that had already taken it.
local ordinals = {}
for i = 4, #KEYS do
  local a = 3 + (i - 4) * 4
  ordinals[i] = redis.call('HINCRBY', KEYS[3], 'appended:' .. ARGV[a], ARGV[a + 1])
end
local function add()
  for i = 4, #KEYS do
    local a = 3 + (i - 4) * 4
    local reply = redis.pcall('XADD', KEYS[i], id(), 'b', ARGV[a + 3], 'n', ARGV[a + 1], 'c', ARGV[a + 2], 'o', ordinals[i])
    if type(reply) == 'table' and reply.err then return false, i - 1, reply.err end
  end
  return true
end

local added, upto, err = add()
if not added then
  for i = 4, upto do redis.call('XDEL', KEYS[i], id()) end
  local function undo()
    for i = 4, #KEYS do
      local a = 3 + (i - 4) * 4
      redis.call('HINCRBY', KEYS[3], 'appended:' .. ARGV[a], -tonumber(ARGV[a + 1]))
    end
  end
  -- Step above whatever is in any of the streams.
  for i = 4, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 1 then
      local info = redis.pcall('XINFO', 'STREAM', KEYS[i])
      if info.err then undo(); return redis.error_reply(info.err) end
      for j = 1, #info, 2 do
        if info[j] == 'last-generated-id' then
          local dash = string.find(info[j + 1], '-', 1, true)
          local lastMs = tonumber(string.sub(info[j + 1], 1, dash - 1))
          local lastSeq = tonumber(string.sub(info[j + 1], dash + 1))
          if lastSeq >= 9007199254740991 then lastMs = lastMs + 1; lastSeq = -1 end
          if lastMs >= 9007199254740991 then undo(); return {'exhausted', KEYS[i]} end
          if lastMs > ms or (lastMs == ms and lastSeq >= seq) then ms = lastMs; seq = lastSeq + 1 end
        end
      end
    end
  end
  added, upto, err = add()
  if not added then
    for i = 4, upto do redis.call('XDEL', KEYS[i], id()) end
    undo()
    return redis.error_reply(err)
  end
end

for i = 4, #KEYS do
  redis.call('HINCRBY', KEYS[3], 'entries:' .. ARGV[3 + (i - 4) * 4], 1)
end
redis.call('HSET', KEYS[2], 'ms', string.format('%.0f', ms), 'seq', string.format('%.0f', seq))
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. id(), 'PX', ARGV[2])
return {'ok', id()}
