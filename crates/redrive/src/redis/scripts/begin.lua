-- Charges runs that are about to start on messages taken over.
--
-- ARGV 4 max attempts, 5 max crashes, 6 '1' if nothing else runs in this process, else '0', 7 nonce;
--      then for each message: id, the delivery count it was claimed with
-- Returns for each: {'ok', count, failures, crashes} · {'lost'} · {'gone'} · a row of bury
-- Again with the same nonce answers what it answered: a lost reply charges nothing twice.

local max_attempts, max_crashes = tonumber(ARGV[4]), tonumber(ARGV[5])
local is_alone, nonce = ARGV[6] == '1', ARGV[7]

local function begin(id, n)
  local row = still_pending(id)
  if not row then return no_longer_pending(id, n, false) end
  if row[2] ~= ME then return { 'lost' } end
  local s = load(id, n)
  if row[4] == n + 1 and s.nonce == nonce then return { 'ok', n + 1, s.f, told(s.x, max_crashes) } end
  if row[4] ~= n or waits(id, s, n) then return { 'lost' } end
  local x = crashes(s, n)
  local reason = used_up(s, n, max_attempts, max_crashes)
  if reason or not is_there(id) then
    local fields = payload(id)
    return bury(id, fields, { reason = reason, err = fields and last_words(reason, s, x) or s.err,
      n = n, f = s.f, x = x, first = s.first, consumer = ME }, s)
  end
  deliver(id, n + 1)
  if x > s.x then s.b = n end
  s.x, s.o, s.h, s.nonce, s.alone = x, n + 1, 0, nonce, is_alone and n + 1 or 0
  save(id, s)
  return { 'ok', n + 1, s.f, told(s.x, max_crashes) }
end

return for_each(8, 2, function(i) return begin(ARGV[i], tonumber(ARGV[i + 1])) end)
