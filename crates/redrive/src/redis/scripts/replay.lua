-- Puts dead letters back on a stream, each once however often it is asked.
--
-- KEYS 1 dead-letter stream, 2 its ledger, 3 target, 4 receipts of today, 5 and 6 of the two days
--      before; in a campaign 7 and 8 as enlist.lua
-- ARGV 1 'remove' or 'copy', 2 Unix seconds at which today's receipts expire, 3 for how many ms
--      originals are kept or '', 4 for how many ms a campaign is remembered; then for each: id of the
--      dead letter, where it goes as a campaign stores it or '', number of items that follow, names
--      and values in turn
-- Returns for each: id of the new entry · {'already', id} · {'missing'} · {'refused', error}

-- Few commands: receipts are looked for and written for all of them at once, and a dead letter
-- is not read again, which would cost more than all the rest. Whether it was still there says XDEL, behind
-- the XADD; where it was not, what was added is taken off the stream before anybody can see it.

local DLQ, LEDGER, TARGET, RECEIPTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local keep = ARGV[1] == 'copy'
local ids, went, first, last, at = {}, {}, {}, {}, 5
while at < #ARGV do
  local n = #ids + 1
  ids[n], went[n], first[n] = ARGV[at], ARGV[at + 1], at + 3
  at = at + 3 + tonumber(ARGV[at + 2])
  last[n] = at - 1
end

-- What was put back before: new ids by those of the dead letters.
local receipts = {}
for day = 4, 6 do
  for n, new in ipairs(redis.call('HMGET', KEYS[day], unpack(ids))) do
    -- A reservation ('?') is of a client that packs; whoever writes the receipt first has it.
    if new and string.sub(new, 1, 1) ~= '?' then receipts[ids[n]] = receipts[ids[n]] or new end
  end
end
-- A queue of another type stops it here, where nothing is written yet.
local is_empty = redis.call('XLEN', DLQ) == 0
-- A copy is not removed, which would tell; an original that is kept has to be read; no stream is made for what
-- is not there; and with few it costs little, while what is taken off a stream leaves it with another last id.
local look = #ids < 10 or keep or ARGV[3] ~= '' or redis.pcall('XLEN', TARGET) == 0

local added, taken, stuck = {}, 0, nil

-- Whether it was in the queue until now. What may not be removed has been put back all the same.
local function take_out(id)
  local gone = redis.pcall('XDEL', DLQ, id)
  if type(gone) ~= 'number' then
    stuck = id
    return true
  end
  taken = taken + gone
  return gone == 1
end

local function replay(n)
  local id = ids[n]
  local before = receipts[id]
  if before then
    -- A copy was put back before: now it goes, without a second entry.
    if not keep then take_out(id) end
    return { 'already', before }
  end
  if is_empty then return { 'missing' } end
  local original = nil
  if look or last[n] < first[n] then
    local letter = redis.call('XRANGE', DLQ, id, id)[1]
    if not letter then return { 'missing' } end
    -- A copy stays in the queue: it is its own original.
    original = not keep and letter[2]
  end
  local new = redis.pcall('XADD', TARGET, '*', unpack(ARGV, first[n], last[n]))
  if type(new) == 'table' then return { 'refused', new.err } end
  -- Where it may not be taken off again either, it is put back.
  if not keep and not take_out(id) and redis.pcall('XDEL', TARGET, new) == 1 then return { 'missing' } end
  receipts[id] = new
  added[#added + 1] = { id, new, went[n], original }
  return new
end

local out = {}
for n = 1, #ids do
  out[n] = replay(n)
  if stuck then break end
end

if taken > 0 then redis.pcall('HINCRBY', LEDGER, 'replayed', taken) end
if #added > 0 then
  local written = {}
  for _, one in ipairs(added) do
    written[#written + 1] = one[1]
    written[#written + 1] = one[2]
  end
  if type(redis.pcall('HSET', RECEIPTS, unpack(written))) == 'table' then
    -- A copy without a receipt would be put back again. What was moved cannot be.
    for _, one in ipairs(added) do
      if keep then redis.pcall('XDEL', TARGET, one[2]) end
    end
    -- Refused once more, which says why and where.
    redis.call('HSET', RECEIPTS, unpack(written))
  end
  redis.call('EXPIREAT', RECEIPTS, ARGV[2])
  enlist(added, ARGV[3], ARGV[4])
end
-- Nothing is removed here either: it is refused once more, and says why and where.
if stuck then redis.call('XDEL', DLQ, stuck) end
return out
