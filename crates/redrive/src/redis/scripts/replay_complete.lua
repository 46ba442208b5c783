-- Last step of putting back a large entry, in one MULTI right behind its XADD: completes the
-- receipt, or takes the entry back off the stream before anybody sees it.
--
-- KEYS as replay.lua; ARGV 1 'remove' or 'copy', 2 id of the dead letter, 3 nonce of this try, 4 number
--      of names and values, 5 where it goes as a campaign stores it or '', 6 for how many ms originals
--      are kept or '', 7 for how many ms a campaign is remembered
-- Returns {'added', id} · {'already', id} · {'lost'} (nothing was reserved, or nothing added)

local DLQ, LEDGER, TARGET, RECEIPTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local keep, id = ARGV[1] == 'copy', ARGV[2]

local new
local info = redis.pcall('XINFO', 'STREAM', TARGET)
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then new = info[i + 1] end
  end
end

local receipt = redis.call('HGET', RECEIPTS, id)
local nonce, before = string.match(receipt or '', '^%?(%S+) (%S+)$')
if nonce ~= ARGV[3] then
  -- The reservation in front of the XADD, in this MULTI, found that there is nothing to put back:
  -- since the one that ran alone, others have replayed or purged it.
  local last = new and redis.call('XRANGE', TARGET, new, new)[1]
  -- Where the XADD was refused as well, the last one is another's.
  if last and #last[2] == tonumber(ARGV[4]) then redis.call('XDEL', TARGET, new) end
  if receipt and not nonce then return { 'already', receipt } end
  return { 'lost' }
end
if not new or new == before then
  redis.call('HDEL', RECEIPTS, id)
  return { 'lost' }
end
redis.call('HSET', RECEIPTS, id, new)
local letter = redis.call('XRANGE', DLQ, id, id)[1]
-- A copy stays in the queue: it is its own original.
enlist({ { id, new, ARGV[5], not keep and letter and letter[2] } }, ARGV[6], ARGV[7])
if not keep then
  redis.call('XDEL', DLQ, id)
  redis.pcall('HINCRBY', LEDGER, 'replayed', 1)
end
return { 'added', new }
