-- take: reads a lane's next entries and due retries. The lease fences the read: a dispatcher that
-- has lost it must not move entries into the pending list.
-- KEYS  1 lease, 2 due, 3.. streams to read
-- ARGV  1 lease value, 2 TTL in ms, 3 function, 4 most units with a due retry, 5 COUNT per stream,
--       6 consumer, 7.. per stream the id to read after: '>' for new entries,
--       else own pending entries after that id
-- reply {'stale'} | {'nogroup', message} |
--       {'ok', server time in ms, due time of the first unit that is not returned, or '',
--       {units due}, per stream {id, b, n, c, id, b, ...}}
--       n, c are '' where the producer wrote none;
--       b is '' and n 'gone' for a pending entry that was deleted
-- cost  O(entries) plus the copy of their bytes
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'stale'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local limit = tonumber(ARGV[4])
local units = {}
if limit > 0 then units = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, limit) end
local first = redis.call('ZRANGE', KEYS[2], #units, #units, 'WITHSCORES')
local nextDue = first[2] or ''
if nextDue == 'inf' then nextDue = '' end -- held: see commit.lua
local reply = {'ok', now, nextDue, units}

local command = {'XREADGROUP', 'GROUP', ARGV[3], ARGV[6], 'COUNT', ARGV[5], 'STREAMS'}
local place = {}
for i = 3, #KEYS do
  command[#command + 1] = KEYS[i]
  place[KEYS[i]] = i + 2
  reply[i + 2] = {}
end
if #KEYS < 3 or ARGV[5] == '0' then return reply end
for i = 7, #ARGV do command[#command + 1] = ARGV[i] end
local read = redis.pcall(unpack(command))
if not read then return reply end
if read.err then return {'nogroup', read.err} end
for _, stream in ipairs(read) do
  local out = {}
  for _, entry in ipairs(stream[2]) do
    local b, n, c = '', '', ''
    local fields = entry[2]
    if fields then
      for f = 1, #fields, 2 do
        local name = fields[f]
        if name == 'b' then
          b = fields[f + 1]
        elseif name == 'n' then
          n = fields[f + 1]
        elseif name == 'c' then
          c = fields[f + 1]
        end
      end
    else
      n = 'gone'
    end
    local at = #out
    out[at + 1] = entry[1]
    out[at + 2] = b
    out[at + 3] = n
    out[at + 4] = c
  end
  reply[place[stream[1]]] = out
end
return reply
