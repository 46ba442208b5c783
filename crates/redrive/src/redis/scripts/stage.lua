-- Adds dead letters under ids of their own, and counts them.
--
-- KEYS 1 dead-letter stream, 2 its ledger
-- ARGV for each: id, number of items that follow, names and values in turn
-- Returns how many were added: what was there is left alone

local added, i = 0, 1
while i < #ARGV do
  local id, count = ARGV[i], tonumber(ARGV[i + 1])
  if #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    local args = {}
    for n = 1, count do args[n] = ARGV[i + 1 + n] end
    redis.call('XADD', KEYS[1], id, unpack(args))
    redis.pcall('HINCRBY', KEYS[2], 'dead_lettered', 1)
    added = added + 1
  end
  i = i + 2 + count
end
return added
