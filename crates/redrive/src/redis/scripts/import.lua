-- Adds dead letters that were stored elsewhere, each once however often it is asked.
--
-- KEYS 1 dead-letter stream, 2 its ledger, 3 receipts of today, 4 and 5 of the two days before
-- ARGV 1 Unix seconds at which today's receipts expire; then for each: name of its receipt, number of
--      items that follow, names and values in turn
-- Returns for each: {'added', id} · {'already', id} · {'refused', error}

local DLQ, LEDGER = KEYS[1], KEYS[2]

local function import(receipt, first, count)
  for i = 3, 5 do
    local new = redis.call('HGET', KEYS[i], receipt)
    -- A reservation ('?') is of a client that died: whoever writes the receipt first has it.
    if new and string.sub(new, 1, 1) ~= '?' then return { 'already', new } end
  end
  local args = {}
  for i = 1, count do args[i] = ARGV[first + i - 1] end
  local new = redis.pcall('XADD', DLQ, '*', unpack(args))
  if type(new) == 'table' and new.err then return { 'refused', new.err } end
  redis.call('HSET', KEYS[3], receipt, new)
  redis.call('EXPIREAT', KEYS[3], ARGV[1])
  redis.pcall('HINCRBY', LEDGER, 'imported', 1)
  return { 'added', new }
end

local out, i = {}, 2
while i < #ARGV do
  local count = tonumber(ARGV[i + 1])
  out[#out + 1] = import(ARGV[i], i + 2, count)
  i = i + 2 + count
end
return out
