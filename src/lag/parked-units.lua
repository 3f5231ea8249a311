-- parked-units: returns a function's units in the order of their arrival, from one partition. Reads
-- only.
--
-- KEYS
-- 1. due
-- 2. arrived
--
-- ARGV
-- 1. most units that wait
-- 2. most held units
--
-- Returns
-- 1. units that wait
-- 2. those of them with a place in `arrived`
-- 3. held units, with a list or without
-- 4. {unit, score, ...}: the units that wait, the oldest first, and one more than ARGV 1
-- 5. {unit, ...}: the units due first; empty where all that wait have a place in `arrived`
-- 6. {unit, ...}: held units
-- 7. {unit, ...}: held units that arrived first; empty where the list before has all held units
--
-- pcall: the lag tells of a foreign key in place of `arrived` by a bound.
--
-- Cost: O(log(units)) and the units returned.
local function size(found) return type(found) == 'number' and found or 0 end
local function list(found) return found.err and {} or found end
local waiting = redis.call('ZCOUNT', KEYS[1], '-inf', '(+inf')
local placed = size(redis.pcall('ZCOUNT', KEYS[2], '0', '+inf'))
local held = redis.call('ZCOUNT', KEYS[1], '+inf', '+inf')
return {
  waiting, placed, held,
  list(redis.pcall(
    'ZRANGEBYSCORE', KEYS[2], '0', '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[1]) + 1
  )),
  placed < waiting
    and redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(+inf', 'LIMIT', 0, ARGV[1]) or {},
  redis.call('ZRANGEBYSCORE', KEYS[1], '+inf', '+inf', 'LIMIT', 0, ARGV[2]),
  held > tonumber(ARGV[2])
    and list(redis.pcall('ZREVRANGEBYSCORE', KEYS[2], '(0', '-inf', 'LIMIT', 0, 32)) or {}
}
