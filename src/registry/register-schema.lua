-- register: makes a schema a version of its subject, in one step.
-- KEYS  1 meta, 2 ids, 3 fingerprints, 4 texts, 5 subjects, 6 levels, 7 uses, 8 references,
--       9 the subject
-- ARGV  1 subject, 2 fingerprint, 3 schema (JSON), 4 hash of the text, 5 who, 6 git revision,
--       7 revision of the subject, 8 level ('': none): the schema was judged by both,
--       9 most subjects, 10 most versions of a subject, 11 most texts,
--       12 ids to choose from, comma separated: the first free one is taken,
--       13 the id that the schema has under another fingerprint, or '',
--       14 and 15 id and version that it had in a registry that was lost, or '',
--       16.. per schema that it refers to: '<version> <subject>'
-- reply {'same', id, version} | {'registered', id, version} |
--       {'changed'} (the subject or its level has changed since the verdict: judge again) |
--       {'full', what}
-- The former id and version of a lost schema are given again if they are free. An id is never given
-- to two schemas. A schema that is a live version of the subject is answered with that version.
-- Under OOM the first write fails, and nothing is done.
-- cost  O(1), plus O(versions of the subject) where the fingerprint is known
local function level()
  return redis.call('HGET', KEYS[6], ARGV[1]) or redis.call('HGET', KEYS[1], 'level') or ''
end
local function remember(id)
  if ARGV[4] ~= '' and redis.call('HLEN', KEYS[4]) < tonumber(ARGV[11]) then
    redis.call('HSET', KEYS[4], ARGV[4], id)
  end
end
-- Stores the schema also under its id from before the registry was lost: events have that id.
local function alias(id, version)
  local had = ARGV[14]
  if had == '' or had == id or redis.call('HEXISTS', KEYS[2], had) == 1 then return end
  redis.call('HSET', KEYS[2], had, ARGV[3])
  redis.call('HSET', KEYS[7], had, version .. ' ' .. ARGV[1] .. '\n')
end
local function freeId()
  for candidate in string.gmatch(ARGV[14] .. ',' .. ARGV[12], '[^,]+') do
    if redis.call('HEXISTS', KEYS[2], candidate) == 0 then return candidate end
  end
end
local function versionAfter(last)
  local had = tonumber(ARGV[15])
  if not had or had > tonumber(ARGV[10]) then return last + 1 end
  local taken = redis.call('HEXISTS', KEYS[9], 'id:' .. had)
    + redis.call('HEXISTS', KEYS[9], 'gone:' .. had)
  return taken == 0 and had or last + 1
end

-- An id is a number; any other text is damaged. A damaged schema is written again under its id: the
-- fingerprint proves that the schema is this one.
local function number(text) return text and string.match(text, '^%d+$') and text end
local function texts(list, a, b)
  if type(list) ~= 'table' then return false end
  for _, one in ipairs(list) do
    if type(one) ~= 'table' or type(one[a]) ~= 'string' or type(one[b]) ~= 'string' then
      return false
    end
  end
  return true
end
local function isSchema(json)
  local read, kept = pcall(cjson.decode, json)
  return read and type(kept) == 'table' and type(kept.fingerprint) == 'string'
    and type(kept.message) == 'string'
    and texts(kept.files, 'name', 'text') and texts(kept.references, 'name', 'subject')
end
local function mend(id)
  local kept = redis.call('HGET', KEYS[2], id)
  if not kept or not isSchema(kept) then redis.call('HSET', KEYS[2], id, ARGV[3]) end
end
local function lastVersion()
  local kept = redis.call('HGET', KEYS[5], ARGV[1])
  if not kept or number(kept) then return tonumber(kept or '0') end
  local highest = 0
  for _, field in ipairs(redis.call('HKEYS', KEYS[9])) do
    highest = math.max(
      highest,
      tonumber(string.match(field, '^id:(%d+)$') or string.match(field, '^gone:(%d+)$') or '0')
    )
  end
  return highest
end
local id = number(redis.call('HGET', KEYS[3], ARGV[2])) or (ARGV[13] ~= '' and ARGV[13])
local last = lastVersion()
if id then
  for version = last, 1, -1 do
    if redis.call('HGET', KEYS[9], 'id:' .. version) == id
      and redis.call('HEXISTS', KEYS[9], 'deleted:' .. version) == 0
    then
      mend(id)
      remember(id)
      alias(id, tostring(version))
      return {'same', id, tostring(version)}
    end
  end
end
if (redis.call('HGET', KEYS[9], 'revision') or '') ~= ARGV[7] or level() ~= ARGV[8] then
  return {'changed'}
end
if last == 0 and redis.call('HLEN', KEYS[5]) >= tonumber(ARGV[9]) then
  return {'full', 'subjects'}
end
if versionAfter(last) > tonumber(ARGV[10]) then return {'full', 'versions'} end

id = id or freeId()
if not id then return {'full', 'ids'} end
mend(id)
redis.call('HSET', KEYS[3], ARGV[2], id)
local next = versionAfter(last)
local version = tostring(next)
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
redis.call('HSET', KEYS[5], ARGV[1], tostring(math.max(last, next)))
redis.call(
  'HSET', KEYS[9], 'id:' .. version, id, 'at:' .. version, now, 'by:' .. version, ARGV[5],
  'git:' .. version, ARGV[6]
)
redis.call('HINCRBY', KEYS[9], 'revision', 1)
redis.call(
  'HSET', KEYS[7], id, (redis.call('HGET', KEYS[7], id) or '') .. version .. ' ' .. ARGV[1] .. '\n'
)
for i = 16, #ARGV do
  redis.call(
    'HSET', KEYS[8], ARGV[i],
    (redis.call('HGET', KEYS[8], ARGV[i]) or '') .. version .. ' ' .. ARGV[1] .. '\n'
  )
end
remember(id)
alias(id, version)
return {'registered', id, version}
