-- Removes dead letters for good.
--
-- KEYS 1 dead-letter stream, 2 its ledger; ARGV ids
-- Returns for each 1 if it was there, else 0.

local out, removed = {}, 0
for i, id in ipairs(ARGV) do
  out[i] = redis.call('XDEL', KEYS[1], id)
  removed = removed + out[i]
end
if removed > 0 then redis.pcall('HINCRBY', KEYS[2], 'purged', removed) end
return out
