-- Puts dead letters back on a stream, each once however often it is asked.
--
-- KEYS 1 dead-letter stream, 2 its ledger, 3 target, 4 receipts of today, 5 and 6 of the two days
--      before; in a campaign 7 and 8 as enlist.lua
-- ARGV 1 'remove' or 'copy', 2 Unix seconds at which today's receipts expire, 3 for how many ms
--      originals are kept or '', 4 for how many ms a campaign is remembered; then for each: id of the
--      dead letter, where it goes as a campaign stores it or '', number of items that follow, names
--      and values in turn
-- Returns for each: {'added', id} · {'already', id} · {'missing'} · {'refused', error}

local DLQ, LEDGER, TARGET = KEYS[1], KEYS[2], KEYS[3]
local keep, expires = ARGV[1] == 'copy', ARGV[2]

local function receipt(id)
  for i = 4, 6 do
    local new = redis.call('HGET', KEYS[i], id)
    -- A reservation ('?') is of a client that packs; whoever writes the receipt first has it.
    if new and string.sub(new, 1, 1) ~= '?' then return new end
  end
end

local function take_out(id)
  if not keep and redis.call('XDEL', DLQ, id) == 1 then
    redis.pcall('HINCRBY', LEDGER, 'replayed', 1)
  end
end

local function replay(id, went, first, count)
  local new = receipt(id)
  if new then
    -- A copy was put back before: now it goes, without a second entry.
    take_out(id)
    return { 'already', new }
  end
  local letter = redis.call('XRANGE', DLQ, id, id)[1]
  if not letter then return { 'missing' } end
  local args = {}
  for i = 1, count do args[i] = ARGV[first + i - 1] end
  new = redis.pcall('XADD', TARGET, '*', unpack(args))
  if type(new) == 'table' and new.err then return { 'refused', new.err } end
  redis.call('HSET', KEYS[4], id, new)
  redis.call('EXPIREAT', KEYS[4], expires)
  -- A copy stays in the queue: it is its own original.
  enlist(id, new, went, not keep and letter[2], ARGV[3], ARGV[4])
  take_out(id)
  return { 'added', new }
end

local out, i = {}, 5
while i < #ARGV do
  local count = tonumber(ARGV[i + 2])
  out[#out + 1] = replay(ARGV[i], ARGV[i + 1], i + 3, count)
  i = i + 3 + count
end
return out
