-- Gives messages up: each is copied to the dead-letter queue and acknowledged in this one step.
--
-- ARGV from 4 on, for each message: id, delivery count, '1' if that delivery is charged, else '0',
--      reason, '1' if its run is a recorded failure, else '0', error, error kind, fingerprint
-- Returns for each: a row of bury · {'full'} (as it was answered before) · {'already'} (it waits for a retry) · {'lost'} · {'gone'}

local function give_up(id, n, charged, reason, failed, err, kind, fingerprint)
  local row = still_pending(id)
  if not row then return no_longer_pending(id, n, charged) end
  if lost(row, n, charged) then return { 'lost' } end
  local s = load(id, n)
  -- What a full queue kept pending, and that answer was lost.
  if ended(id, s, n, charged) then return { STOPS and 'full' or 'already' } end
  local fields = payload(id)
  if not fields then return entomb(id, n, charged) end
  local first = s.first
  if failed and first == 0 then first = NOW end
  local about = { reason = reason, err = err, kind = kind, fingerprint = fingerprint, n = n,
    f = failed and s.f + 1 or s.f, x = charged and s.x or crashes(s, n), first = first, consumer = ME }
  if charged then s.o = 0 end
  return bury(id, fields, about, s)
end

return for_each(4, 8, function(i)
  return give_up(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1', ARGV[i + 3],
    ARGV[i + 4] == '1', ARGV[i + 5], ARGV[i + 6], ARGV[i + 7])
end)
