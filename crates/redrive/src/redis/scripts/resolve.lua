-- Ends the delivery of a message that was trimmed while it was held: its tombstone goes, after a
-- success for good, else for a full copy.
--
-- ARGV 4 id of the tombstone, 5 'done', 'failed' or 'silent' (handed back, nothing said), 6 id of the entry, 7 delivery count, 8 failures,
--      9 error, 10 error kind, 11 fingerprint; 12 to 15 what was known before: failures, crashes,
--      first failure in Unix ms, error, all '' where only the tombstone can tell; from 16 on names and
--      values in turn
-- Returns {'ok'} · {'already'} (the tombstone is gone) · {'died', id, 'trimmed', dead letter}
--      its layout, how many were dropped · {'refused', id, error}

local tombstone, how, id = ARGV[4], ARGV[5], ARGV[6]
local stone = redis.call('XRANGE', DLQ, tombstone, tombstone)[1]
if not stone then
  redis.call('HDEL', TOMBSTONES, id)
  return { 'already' }
end

if how == 'done' then
  redis.call('XDEL', DLQ, tombstone)
  uncount()
  redis.call('HDEL', TOMBSTONES, id)
  return { 'ok' }
end

-- The state went with the tombstone: what is known of the message stands on it, unless the caller has
-- just been told. The flat layout says nothing of it, an envelope its error.
local known = {}
for i = 1, #stone[2], 2 do known[stone[2][i]] = stone[2][i + 1] end
if known.error then known['redrive-error'] = string.sub(known.error, 10) end
if ARGV[12] ~= '' then
  known['redrive-attempts'], known['redrive-crashes'] = ARGV[12], ARGV[13]
  known['redrive-first-at'], known['redrive-error'] = ARGV[14], ARGV[15]
end
-- What a failed run said counts whole, without words too: never its kind with an older error.
local function said(index, name)
  if how == 'failed' then return ARGV[index] end
  return known['redrive-' .. name]
end
local function number(name, otherwise) return tonumber(known['redrive-' .. name] or otherwise) end

local fields = {}
for i = 16, #ARGV do fields[#fields + 1] = ARGV[i] end
local first = number('first-at', '0')
if ARGV[8] == '1' and first == 0 then first = NOW end
local added, layout = add_dead_letter(id, fields, { reason = 'trimmed', err = said(9, 'error'),
  kind = said(10, 'error-kind'), fingerprint = said(11, 'fingerprint'), n = tonumber(ARGV[7]),
  f = number('attempts', '0') + tonumber(ARGV[8]), x = number('crashes', '0'), first = first,
  consumer = ME })
if not added then return { 'refused', id, layout } end
redis.call('XDEL', DLQ, tombstone)
redis.call('HDEL', TOMBSTONES, id)
-- It replaces its tombstone, which was counted: one death, one dead letter.
uncount()
write()
-- Only now: before, the tombstone itself might have been the oldest.
return { 'died', id, 'trimmed', added, layout, drop_oldest() }
