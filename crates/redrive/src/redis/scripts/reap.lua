-- Removes consumers that are no more and have nothing pending; checked and removed in one step,
-- for removing a consumer destroys what is pending on it.
--
-- KEYS 1 stream, 2 consumers (hash), then one alive key for each name
-- ARGV 1 group, 2 idle ms after which a consumer that is not redrive's is taken for dead, then names
-- Returns for each name 1 if it was removed, else 0.

local known = {}
local listed = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if listed.err then listed = {} end
for _, consumer in ipairs(listed) do
  local row = {}
  for i = 1, #consumer, 2 do row[consumer[i]] = consumer[i + 1] end
  known[row.name] = row
end

local out = {}
for i = 3, #ARGV do
  local name = ARGV[i]
  local row, ours = known[name], redis.call('HEXISTS', KEYS[2], name) == 1
  local dead
  if ours then
    dead = redis.call('EXISTS', KEYS[i]) == 0
  else
    dead = row and row.idle > tonumber(ARGV[2])
  end
  if dead and not (row and row.pending > 0) then
    if row then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name) end
    redis.call('HDEL', KEYS[2], name)
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
return out
