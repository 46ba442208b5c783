-- Takes back replays of a campaign whose messages no group has been given: each dead letter is parked
-- again and its message removed in this one step.
--
-- KEYS 1 dead-letter stream, 2 its ledger, 3 stream of the messages, 4 receipts of today, 5 and 6 of
--      the two days before, 7 campaign (hash), 8 its originals (stream)
-- ARGV 1 'do' or 'look'; then for each: id of the dead letter, id of the message, id of its original
--      or '-'
-- Returns for each: {'parked', id} · {'already', id} · {'started'} · {'gone'} · {'not_kept'}
--      · {'refused', error}; with 'look' the id is that of the dead letter, and nothing is changed

local DLQ, LEDGER, TARGET, CAMPAIGN, ORIGINALS = KEYS[1], KEYS[2], KEYS[3], KEYS[7], KEYS[8]
local look = ARGV[1] == 'look'

-- Ids are compared as texts: numbers are doubles here. Of two without leading zeros the longer is larger.
local function below(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function is_after(id, other)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)%-(%d+)$')
  if ms ~= other_ms then return below(other_ms, ms) end
  return below(other_seq, seq)
end

local groups = {}
local info = redis.pcall('XINFO', 'GROUPS', TARGET)
if not info.err then
  for i, row in ipairs(info) do
    local group = {}
    for j = 1, #row, 2 do group[row[j]] = row[j + 1] end
    groups[i] = group
  end
end

local function given(message)
  for _, group in ipairs(groups) do
    if not is_after(message, group['last-delivered-id']) then return true end
    -- Its group may have been set back behind it since.
    if #redis.call('XPENDING', TARGET, group.name, message, message, 1) > 0 then return true end
  end
  return false
end

local function unpacked(packed)
  local fields, at = {}, 1
  while at <= #packed do
    local length
    length, at = struct.unpack('>I4', packed, at)
    fields[#fields + 1] = string.sub(packed, at, at + length - 1)
    at = at + length
  end
  return fields
end

local function undo(id, message, original)
  local before = redis.call('HGET', CAMPAIGN, 'u:' .. id)
  if before then return { 'already', before } end
  if redis.call('HEXISTS', CAMPAIGN, 'd:' .. id) == 1 or given(message) then return { 'started' } end
  if #redis.call('XRANGE', TARGET, message, message) == 0 then return { 'gone' } end
  local parked = nil
  -- A copy was put back: the dead letter itself has stayed.
  if #redis.call('XRANGE', DLQ, id, id) == 1 then parked = id end
  local kept = not parked and original ~= '-' and redis.call('XRANGE', ORIGINALS, original, original)[1]
  if not parked and (not kept or kept[2][2] ~= id) then return { 'not_kept' } end
  if look then return { 'parked', id } end
  if not parked then
    local fields = unpacked(kept[2][4])
    if #fields > 7980 then return { 'refused', 'ERR more fields than a script can add' } end
    parked = redis.pcall('XADD', DLQ, '*', unpack(fields))
    if type(parked) == 'table' then return { 'refused', parked.err } end
    redis.pcall('HINCRBY', LEDGER, 'replayed', -1)
    redis.pcall('HINCRBY', LEDGER, 'rewritten', 1)
    redis.call('XDEL', ORIGINALS, original)
  end
  local noted = redis.pcall('HSET', CAMPAIGN, 'u:' .. id, parked)
  if type(noted) == 'table' and parked == id then return { 'refused', noted.err } end
  redis.call('XDEL', TARGET, message)
  -- It may be put back again, under the id that it has now.
  for i = 4, 6 do redis.call('HDEL', KEYS[i], id) end
  return { 'parked', parked }
end

local out = {}
for i = 2, #ARGV, 3 do out[#out + 1] = undo(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return out
