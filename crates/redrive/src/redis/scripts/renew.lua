-- Keeps held messages from being taken over.
--
-- KEYS 9 alive key of the consumer
-- ARGV 4 token of this process; from 5 on, for each message: id, delivery count, '1' if that delivery
--      is charged, else '0'
-- Returns for each: {'ok'} · {'lost'} · {'gone'} · a row of bury (trimmed: its tombstone) ·
--      {'taken'}: another process has the name, and what it holds is not ours to renew

local has = redis.call('GET', KEYS[9])
local taken = has and has ~= ARGV[4]

local function renew(id, n, charged)
  local row = still_pending(id)
  if not row then return no_longer_pending(id, n, charged) end
  if lost(row, n, charged) then return { 'lost' } end
  if not is_there(id) then
    -- Put back before, and the reply was lost: its failure stands in the state and would be counted
    -- again on the tombstone. It waits, and claim buries it.
    local s = load(id, n)
    if charged and s.h == n and s.o ~= n then return { 'ok' } end
    return entomb(id, n, charged)
  end
  -- JUSTID: renewing must not look like a delivery, the count is our fencing token.
  hold(id, ME)
  if charged then came_back(id, n) end
  return { 'ok' }
end

if taken then
  local out = {}
  for i = 5, #ARGV, 3 do out[#out + 1] = { 'taken' } end
  return out
end
return for_each(5, 3, function(i)
  return renew(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1')
end)
