-- The sign of life of a consumer, and with it its name: one process has it at a time.
--
-- KEYS 1 alive key of the consumer, 2 consumers (hash)
-- ARGV 1 'enter', 'stay', 'prolong' (not where it has run out) or 'leave', 2 token of this process,
--      3 its lease in ms, 4 the consumer
-- Returns -1, or how many ms the sign of life of another process is good that has the name: then
--      nothing has changed.

local how, token, lease = ARGV[1], ARGV[2], ARGV[3]
local has = redis.call('GET', KEYS[1])
if has and has ~= token then
  local left = redis.call('PTTL', KEYS[1])
  -- One that would stay for ever is not redrive's.
  if left < 0 then return tonumber(lease) end
  return left
end

if how == 'leave' then
  redis.call('DEL', KEYS[1])
  -- Others may have taken it for dead while it was silent. Removed as redrive's own, it goes now; as
  -- a stranger, only when it has been idle for an hour.
  redis.call('HSET', KEYS[2], ARGV[4], lease)
  return -1
end

-- First what is never refused for want of memory, whether it finds something or not: a full server
-- must not make the living look dead.
redis.call('PEXPIRE', KEYS[1], lease)
if not has and how ~= 'prolong' then redis.call('SET', KEYS[1], token, 'PX', lease) end
if how == 'enter' then redis.call('HSET', KEYS[2], ARGV[4], lease) end
return -1
