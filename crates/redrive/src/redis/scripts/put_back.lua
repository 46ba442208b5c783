-- Ends deliveries of messages that stay pending: retry, defer, release.
--
-- ARGV from 4 on, for each message: id, delivery count, '1' if that delivery is charged, else '0',
--      'retry' or 'defer' or 'release', delay in ms or 'keep' where its holder keeps it for that
--      time, error
-- Returns for each: {'ok'} · {'already'} · {'lost'} · {'gone'} · a row of bury (trimmed: its
--      tombstone)

local function put_back(id, n, charged, how, delay, err)
  local row = still_pending(id)
  if not row then return no_longer_pending(id, n, charged) end
  local s = load(id, n)
  if ended(id, s, n, charged) then return { 'already' } end
  if lost(row, n, charged) then return { 'lost' } end
  if not is_there(id) then return entomb(id, n, charged) end
  hold(id, ME)
  if how == 'retry' then
    s.f = s.f + 1
    s.err = string.sub(err, 1, 1024)
    if s.first == 0 then s.first = NOW end
  end
  -- What was taken over and is put back unbegun keeps what it owed.
  if charged then s.o = 0 end
  s.h = n
  save(id, s)
  if delay then
    due_at(id, NOW + delay)
  else
    -- Kept: one that a group before this one left would be taken for that of this delivery.
    undue(id)
  end
  return { 'ok' }
end

return for_each(4, 6, function(i)
  return put_back(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1', ARGV[i + 3],
    tonumber(ARGV[i + 4]), ARGV[i + 5])
end)
