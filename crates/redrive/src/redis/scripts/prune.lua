-- Removes consumers that hold nothing, have been silent for long, and are not alive; or says which these
-- are. Checked and removed in one step, for removing a consumer destroys what is pending on it.
--
-- KEYS 1 stream, 2 consumers (hash), then one alive key for each name
-- ARGV 1 group, 2 idle ms, 3 'remove' or 'look', then names
-- Returns for each name nothing where it is not in the group, else: pending, idle ms, its lease or '',
--      1 if it is alive, 1 if it was removed or would be.

local known = {}
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local row = {}
  for i = 1, #consumer, 2 do row[consumer[i]] = consumer[i + 1] end
  known[row.name] = row
end

local out = {}
for i = 4, #ARGV do
  local name = ARGV[i]
  local row = known[name]
  local lease = redis.call('HGET', KEYS[2], name)
  local alive = redis.call('EXISTS', KEYS[i - 1])
  local goes = alive == 0 and row and row.pending == 0 and row.idle >= tonumber(ARGV[2])
  if ARGV[3] == 'remove' then
    if goes then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name) end
    -- Of one that is not in the group any more nothing else is left.
    if lease and (goes or (alive == 0 and not row)) then redis.call('HDEL', KEYS[2], name) end
  end
  if row then
    out[#out + 1] = { row.pending, row.idle, lease or '', alive, goes and 1 or 0 }
  else
    out[#out + 1] = false
  end
end
return out
