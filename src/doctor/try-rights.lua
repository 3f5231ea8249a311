-- try-rights: asks which commands the user may call. Run it by EVAL_RO: Redis compares the rights
-- of a command before it refuses the write, so nothing is ever written.
-- KEYS  1.. the keys that the commands name
-- ARGV  1.. the commands with their arguments, each a JSON list
-- reply per command: '' (it may be called), else Redis' refusal
-- cost  O(commands)
local reply = {}
for i = 1, #ARGV do
  local answer = redis.pcall(unpack(cjson.decode(ARGV[i])))
  local err = type(answer) == 'table' and answer.err or ''
  reply[i] = string.find(err, "can't", 1, true) and err or ''
end
return reply
