-- Reserves the receipt of a dead letter of more fields than a script can add, and notes the last id of
-- the queue, so that the completion can tell whether the XADD between them was refused. In one MULTI
-- with the XADD and import_complete.lua.
--
-- KEYS as import.lua; ARGV 1 Unix seconds at which today's receipts expire, 2 name of the receipt,
--      3 nonce of this try
-- Returns {'reserved'} · {'already', id}

for i = 3, 5 do
  local new = redis.call('HGET', KEYS[i], ARGV[2])
  if new and string.sub(new, 1, 1) ~= '?' then return { 'already', new } end
end
local last, info = '0-0', redis.pcall('XINFO', 'STREAM', KEYS[1])
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
redis.call('HSET', KEYS[3], ARGV[2], '?' .. ARGV[3] .. ' ' .. last)
redis.call('EXPIREAT', KEYS[3], ARGV[1])
return { 'reserved' }
