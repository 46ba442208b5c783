-- Removes dead letters that were written elsewhere, counts them, and notes that in the audit.
--
-- KEYS 1 dead-letter stream, 2 its ledger, 3 its audit (stream)
-- ARGV 1 the operation, 2 who, 3 its selection; then ids
-- Returns how many were removed; what was gone before is not counted

-- First what is never refused for want of memory: it is what makes room.
local removed = 0
for i = 4, #ARGV do removed = removed + redis.call('XDEL', KEYS[1], ARGV[i]) end
if removed > 0 then
  redis.pcall('HINCRBY', KEYS[2], 'spilled', removed)
  redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'op', ARGV[1], 'what', 'spill', 'state', 'ended',
    'who', ARGV[2], 'selection', ARGV[3], 'outcome', 'done', 'spilled', removed)
end
return removed
