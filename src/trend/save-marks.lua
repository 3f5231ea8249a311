-- save-marks: appends marks, and writes the state that they were found from. Both, or neither: so a
-- mark never comes twice, whoever else writes.
-- KEYS  1 state (hash), 2 marks (stream)
-- ARGV  1 revision that the writer has read, '' for none, 2 the next revision, 3 most marks kept,
--       4 number of fields, then pairs of field and value, then six values for each mark: at, kind,
--       function, type, text, from
-- reply 1 | 0 (the state has another revision: nothing was written)
-- XTRIM comes first: it works under OOM and makes the rest of the script work there, too.
-- cost  O(fields + marks)
if (redis.call('HGET', KEYS[1], '#revision') or '') ~= ARGV[1] then return 0 end
redis.call('XTRIM', KEYS[2], 'MAXLEN', ARGV[3])
redis.call('HSET', KEYS[1], '#revision', ARGV[2])
local fields = tonumber(ARGV[4])
for i = 5, 3 + 2 * fields, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = 5 + 2 * fields, #ARGV, 6 do
  redis.call(
    'XADD', KEYS[2], 'MAXLEN', ARGV[3], '*', 'at', ARGV[i], 'kind', ARGV[i + 1],
    'function', ARGV[i + 2], 'type', ARGV[i + 3], 'text', ARGV[i + 4], 'from', ARGV[i + 5]
  )
end
return 1
