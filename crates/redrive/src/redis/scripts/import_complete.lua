-- Last step of importing a dead letter of more fields than a script can add, in one MULTI right behind
-- its XADD: completes the receipt, or takes the entry back before anybody sees it.
--
-- KEYS as import.lua; ARGV 1 name of the receipt, 2 nonce of this try, 3 number of names and values
-- Returns {'added', id} · {'already', id} · {'lost'} (nothing was reserved, or nothing added)

local DLQ, LEDGER, RECEIPTS = KEYS[1], KEYS[2], KEYS[3]
local name = ARGV[1]

local new
local info = redis.pcall('XINFO', 'STREAM', DLQ)
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then new = info[i + 1] end
  end
end

local nonce, before = string.match(redis.call('HGET', RECEIPTS, name) or '', '^%?(%S+) (%S+)$')
if nonce ~= ARGV[2] then
  -- Nothing was reserved in front of the XADD: it was imported before, or the reservation refused.
  local last = new and redis.call('XRANGE', DLQ, new, new)[1]
  -- Where the XADD was refused as well, the last one is another's.
  if last and #last[2] == tonumber(ARGV[3]) and redis.call('XDEL', DLQ, new) == 1 then
    redis.pcall('HINCRBY', LEDGER, 'rewritten', 1)
  end
  for i = 3, 5 do
    local known = redis.call('HGET', KEYS[i], name)
    if known and string.sub(known, 1, 1) ~= '?' then return { 'already', known } end
  end
  return { 'lost' }
end
if not new or new == before then
  redis.call('HDEL', RECEIPTS, name)
  return { 'lost' }
end
redis.call('HSET', RECEIPTS, name, new)
redis.pcall('HINCRBY', LEDGER, 'imported', 1)
return { 'added', new }
