-- leave-presence: leaves a farewell in the place of a dispatcher's presence.
-- KEYS  1 presence
-- ARGV  1 farewell, 2 time for which it is kept, ms
-- reply 1
-- DEL comes first: it works under OOM and makes the rest of the script work there too.
-- cost  O(1)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
