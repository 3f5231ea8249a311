-- delete: deletes one version of a subject. Softly: it is no longer offered, but found by its
-- number on request. Permanently: its record is removed.
-- KEYS  1 uses, 2 references, 3 the subject
-- ARGV  1 subject, 2 version, 3 'soft' | 'permanent',
--       4.. per schema that it refers to: '<version> <subject>'
-- reply {'deleted'} | {'unknown'} | {'already'} (softly deleted before) |
--       {'live'} (only a softly deleted version can be deleted permanently) |
--       {'referenced', '<version> <subject>' a line}
-- The schema stays under its id in any case: events have the id, and may be replayed. The number of
-- a version is never used again.
-- cost  O(versions of the subject)
local deleted = 'deleted:' .. ARGV[2]
local line = ARGV[2] .. ' ' .. ARGV[1] .. '\n'
local function without(lines)
  local kept = ''
  for one in string.gmatch(lines or '', '[^\n]+\n') do
    if one ~= line then kept = kept .. one end
  end
  return kept
end
local id = redis.call('HGET', KEYS[3], 'id:' .. ARGV[2])
if not id then return {'unknown'} end
local gone = redis.call('HEXISTS', KEYS[3], deleted) == 1
if ARGV[3] == 'soft' then
  if gone then return {'already'} end
  local references = redis.call('HGET', KEYS[2], ARGV[2] .. ' ' .. ARGV[1])
  if references and references ~= '' then return {'referenced', references} end
  local time = redis.call('TIME')
  redis.call(
    'HSET', KEYS[3], deleted,
    string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
  )
  redis.call('HINCRBY', KEYS[3], 'revision', 1)
  for i = 4, #ARGV do
    redis.call('HSET', KEYS[2], ARGV[i], without(redis.call('HGET', KEYS[2], ARGV[i])))
  end
  return {'deleted'}
end
if not gone then return {'live'} end
redis.call(
  'HDEL', KEYS[3], 'id:' .. ARGV[2], 'at:' .. ARGV[2], 'by:' .. ARGV[2], 'git:' .. ARGV[2], deleted
)
redis.call('HSET', KEYS[3], 'gone:' .. ARGV[2], 1)
redis.call('HINCRBY', KEYS[3], 'revision', 1)
redis.call('HSET', KEYS[1], id, without(redis.call('HGET', KEYS[1], id)))
return {'deleted'}
