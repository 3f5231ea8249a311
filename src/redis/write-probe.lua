-- write-probe: finds out whether the server takes writes, and changes nothing.
--
-- KEYS
-- 1. settings (hash)
--
-- Returns 1, or 0 where the deployment has no settings: nothing was tried then. A server that takes
-- no writes refuses SET, with its reason. That includes a full memory, which many writes pass.
-- SET … NX of a key that exists writes nothing, not even to replicas or the append-only file.
--
-- Cost: O(1).
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[1], '', 'NX')
return 1
