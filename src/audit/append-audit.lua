-- append-audit: appends a record to the audit log, and keeps the log within its bound.
-- KEYS  1 audit log (stream)
-- ARGV  1 most entries kept, 2 … fields and values of the record
-- reply id of the entry
-- XTRIM comes first: it works under OOM and makes the rest of the script work there too. A purge
-- must be possible, and be recorded, when Redis is full.
-- cost  O(fields), and O(1) for the entry that leaves
redis.call('XTRIM', KEYS[1], 'MAXLEN', tonumber(ARGV[1]) - 1)
return redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
