-- put-snapshot: keeps the state of an aggregate, unless a newer one is kept.
-- KEYS  1 history, 2 snapshot
-- ARGV  1 revision, 2 state, 3 schema, 4 '1': the kept snapshot was found to be unreadable
-- reply 1 kept | 0 not kept: a snapshot of a later revision, or of the same one and schema, is
--       there, or the history does not reach this revision
-- A damaged snapshot is overwritten: a key of another type, or a revision that is no number. So is
-- an unreadable snapshot with a revision beyond the history.
-- cost  O(1) plus the copy of the state
local revision = tonumber(ARGV[1])
local length = redis.call('LLEN', KEYS[1])
if length < revision then return 0 end
local kept = redis.pcall('HMGET', KEYS[2], 'revision', 'schema')
if kept.err then
  if redis.call('TYPE', KEYS[2]).ok == 'hash' then return kept end
  redis.call('UNLINK', KEYS[2])
  kept = {}
end
local before = kept[1] and string.match(kept[1], '^%d+$') and tonumber(kept[1])
local unreadable = ARGV[4] == '1'
if before and before > revision and not (unreadable and before > length) then return 0 end
if before == revision and kept[2] == ARGV[3] and not unreadable then return 0 end
redis.call('HSET', KEYS[2], 'revision', ARGV[1], 'state', ARGV[2], 'schema', ARGV[3])
return 1
