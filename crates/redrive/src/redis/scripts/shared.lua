-- Shared by every script that ends or keeps deliveries; loaded in front of each.
--
-- KEYS 1 stream, 2 due (sorted set), 3 state (hash), 4 consumers (hash), 5 meta (hash),
--      6 dead-letter stream, 7 its ledger (hash), 8 tombstones (hash)
-- ARGV 1 group, 2 this consumer, 3 layout of dead letters and, where their queue has a limit, behind
--      spaces 'stop', 'spill', 'drop' or 'about', how many it may hold, how many bytes, and how old they may
--      become in ms, each 0 for any; the rest belongs to each script.
--
-- Laws: check first; then write what may be refused; remove last. A script that must always go
-- through writes something first that is never refused for want of memory: Redis refuses only
-- the first write of a script. Numbers are doubles: ids are never computed here.

local STREAM, DUE, STATE, CONSUMERS, META, DLQ, LEDGER, TOMBSTONES =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local GROUP, ME = ARGV[1], ARGV[2]
local LAYOUT, OVERFLOW, MOST, BYTES, AGE =
  string.match(ARGV[3], '^(%a+) ?(%a*) ?(%d*) ?(%d*) ?(%d*)$')
MOST, BYTES, AGE = tonumber(MOST) or 0, tonumber(BYTES) or 0, tonumber(AGE) or 0
-- Where a full queue keeps messages pending: until a person makes room, or its worker spills.
local STOPS = OVERFLOW == 'stop' or OVERFLOW == 'spill'
-- How long such a message waits, in ms.
local FULL_PAUSE = OVERFLOW == 'spill' and 1000 or 60000

local clock = redis.call('TIME')
local NOW = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function int(number) return string.format('%.0f', number) end

-- The one row of an entry in the PEL: id, owner, idle, delivery count; nil when it is not pending.
local function pending(id)
  local rows = redis.pcall('XPENDING', STREAM, GROUP, id, id, 1)
  if rows.err then
    if string.match(rows.err, 'NOGROUP') then return nil end
    rows = redis.call('XPENDING', STREAM, GROUP, id, id, 1)
  end
  return rows[1]
end

-- The fields of an entry as a flat list; nil when the stream no longer has it.
local function payload(id)
  local entry = redis.call('XRANGE', STREAM, id, id)[1]
  return entry and entry[2]
end

-- ==== the state of one message

-- f recorded failures, x booked crashes, o the charged delivery that has not ended, h the delivery
-- for which the due time is valid, nonce of the last begin, b the delivery whose crash was booked
-- last, alone the delivery that began alone in its process (0: it did not), first failure in Unix
-- ms, err the last error.
-- Without state the present delivery counts as charged and open: a reader that died left nothing.
local function parse(text, present)
  local f, x, o, h, nonce, b, alone, first, err =
    string.match(text or '', '^(%d+) (%d+) (%d+) (%d+) (%S+) (%d+) (%d+) (%d+) (.*)$')
  if f then
    return { f = tonumber(f), x = tonumber(x), o = tonumber(o), h = tonumber(h), nonce = nonce,
      b = tonumber(b), alone = tonumber(alone), first = tonumber(first), err = err }
  end
  return { f = 0, x = 0, o = present, h = 0, nonce = '-', b = 0, alone = 0, first = 0, err = '' }
end

local function written(s)
  return table.concat({ int(s.f), int(s.x), int(s.o), int(s.h), s.nonce, int(s.b), int(s.alone),
    int(s.first), s.err }, ' ')
end

local function load(id, present) return parse(redis.call('HGET', STATE, id), present) end

local function save(id, s) redis.call('HSET', STATE, id, written(s)) end

local function crashes(s, present)
  if s.o == present then return s.x + 1 end
  return s.x
end

local function forget(id)
  redis.call('HDEL', STATE, id)
  redis.call('ZREM', DUE, id)
end

-- Whether it waits for its due time under its present delivery.
local function waits(id, s, present)
  return s.h == present and redis.call('ZSCORE', DUE, id)
end

-- Whether this very delivery was ended before and put back: then this call repeats one whose reply
-- was lost, whoever has the message now. What was taken over under the same count, and not begun,
-- is another lease: it has ended only if the message waits again.
local function ended(id, s, n, charged)
  if charged then return s.h == n and s.o ~= n end
  return waits(id, s, n)
end

-- Takes back what a lost lease must not cost: losing a lease is not crashing. n is the delivery
-- the caller had and was charged for.
local function unbook(id, n, present)
  local s = load(id, present)
  local booked, open = s.b == n and s.x > 0, s.o == n and present == n
  if not booked and not open then return end
  if booked then
    s.x = s.x - 1
    s.b = 0
  end
  if open then s.o = 0 end
  -- The entry is not ours, so no XCLAIM can go first; this removes nothing, and is never refused.
  redis.call('ZREM', DUE, '-')
  save(id, s)
end

-- As pending; of what is no longer pending the hints go as well.
local function still_pending(id)
  local row = pending(id)
  if not row then forget(id) end
  return row
end

-- The fence: whether delivery n, which the caller had, is no longer its own. Then the crash it was
-- charged with is taken back.
local function lost(row, n, charged)
  if row[2] == ME and row[4] == n then return false end
  if charged then unbook(row[1], n, row[4]) end
  return true
end

-- ==== what stands for a message that was trimmed

-- A tombstone is remembered under its entry's id, for whoever still holds the bytes and was not told:
-- the reply was lost, or somebody else wrote it. Until when it is remembered, in Unix ms, delivery
-- count, owner and state are those of the message when it went.
local function remember(id, tombstone, layout, n, owner, s)
  local lease = tonumber(redis.call('HGET', CONSUMERS, ME) or false) or 0
  local kept = math.max(600000, 10 * lease)
  -- What it stands for has left the PEL already, whatever becomes of this.
  redis.pcall('HSET', TOMBSTONES, id, table.concat({ tombstone, int(NOW + kept), layout, int(n),
    int(#owner), owner, written(s) }, ' '))
  if redis.call('PTTL', TOMBSTONES) < kept then redis.call('PEXPIRE', TOMBSTONES, int(kept)) end
end

local function remembered(id)
  local tombstone, till, layout, n, length, rest = string.match(
    redis.call('HGET', TOMBSTONES, id) or '', '^(%d+%-%d+) (%d+) (%a+) (%d+) (%d+) (.*)$')
  if not tombstone or tonumber(till) <= NOW then return nil end
  return { tombstone = tombstone, layout = layout, n = tonumber(n),
    owner = string.sub(rest, 1, tonumber(length)),
    s = parse(string.sub(rest, tonumber(length) + 2), tonumber(n)) }
end

-- The row for a message that is no longer pending. Where a tombstone stands for it, whoever had its
-- last delivery is told again; any other delivery was lost before.
local function no_longer_pending(id, n, charged)
  local stone = remembered(id)
  if not stone then return { 'gone' } end
  if stone.owner ~= ME or stone.n ~= n then return { 'lost' } end
  local s = stone.s
  -- Put back before it was trimmed, and that reply was lost: what it said is on the tombstone.
  if charged and s.h == n and s.o ~= n then return { 'gone' } end
  return { 'died', id, 'trimmed', stone.tombstone, stone.layout, 0, int(s.f),
    int(charged and s.x or crashes(s, n)), int(s.first), s.err }
end

-- One that was added is no longer counted as a dead letter: it is gone, or another stands for it.
local function uncount()
  redis.pcall('HINCRBY', LEDGER, 'dead_lettered', -1)
  redis.pcall('HINCRBY', LEDGER, 'rewritten', 1)
end

-- Its message has succeeded after all. Answers whether a tombstone stood for it.
local function lift(id)
  local stone = remembered(id)
  if not stone then return false end
  -- The work is done: what the queue answers must not make its ack fail.
  local gone = redis.pcall('XDEL', DLQ, stone.tombstone)
  if type(gone) ~= 'number' then return false end
  if gone == 1 then uncount() end
  redis.call('HDEL', TOMBSTONES, id)
  return true
end

-- ==== dead letters

-- Whether a text is a number as it is written here: no sign, no leading zero, at most `most`.
local function canonical(text, most)
  if text ~= '0' and not string.match(text, '^[1-9]%d*$') then return false end
  return #text < #most or (#text == #most and text <= most)
end

local U64, U32 = '18446744073709551615', '4294967295'

-- How many of a flat list's items are the user's, and the lineage behind them: a block that replay
-- appended is not the user's. A block with nothing before it was not appended by replay.
local function own(fields)
  local n, campaign = #fields, nil
  if n >= 2 and fields[n - 1] == 'redrive-campaign' and fields[n] ~= '' then
    campaign = fields[n]
    n = n - 2
  end
  if n >= 6 and fields[n - 1] == 'redrive-replays' and fields[n - 3] == 'redrive-replayed-from' then
    local replays, from = fields[n], fields[n - 2]
    local ms, seq = string.match(from, '^(%d+)%-(%d+)$')
    if ms and canonical(ms, U64) and canonical(seq, U64) and replays ~= '0'
      and canonical(replays, U32) then
      return n - 4, from, replays, campaign
    end
  end
  return #fields
end

-- Names that would be misread in a flat dead letter: its own five, and the mark of a native one.
local FLAT = { original_stream = true, original_id = true, failure_reason = true,
  attempts = true, dlq_timestamp = true, ['redrive-v'] = true }

local function flat_can_hold(fields)
  if own(fields) > 7800 then return false end
  for i = 1, #fields, 2 do
    if FLAT[fields[i]] then return false end
  end
  return true
end

local function flat(id, fields, about)
  local args = {}
  for i = 1, #fields do args[i] = fields[i] end
  local function put(name, value)
    args[#args + 1] = name
    args[#args + 1] = value
  end
  put('original_stream', STREAM)
  put('original_id', id)
  put('failure_reason',
    about.reason == 'attempts_exhausted' and 'max_retries_exceeded' or about.reason)
  put('attempts', int(about.n))
  put('dlq_timestamp', clock[1] .. '.' .. string.format('%06d', tonumber(clock[2])))
  return args
end

-- The three fields of an envelope's message. Nil for what it cannot hold: any other field, a block
-- of replay too, one of them twice, or one without payload that would read as a tombstone.
local ENVELOPE = { data = true, ts = true, trace_id = true }

local function envelope(id, fields, about)
  local user = {}
  for i = 1, #fields, 2 do
    local name = fields[i]
    if not ENVELOPE[name] or user[name] then return nil end
    user[name] = fields[i + 1]
  end
  local err = about.err or ''
  if about.reason ~= 'attempts_exhausted' then err = about.reason .. ': ' .. err end
  if #fields > 0 and (user.data or '') == '' and string.sub(err, 1, 9) == 'trimmed: ' then return nil end
  return { 'original_stream', STREAM, 'original_msg_id', id, 'error', err,
    'attempt', int(math.max(about.f, 1)), 'data', user.data or '', 'ts', user.ts or '',
    'trace_id', user.trace_id or '' }
end

local function native(id, fields, about)
  local n, from, replays, campaign = own(fields)
  local args, packed = {}, nil
  if n > 7800 then
    local parts = {}
    for i = 1, n do parts[i] = struct.pack('>I4', #fields[i]) .. fields[i] end
    packed = table.concat(parts)
    n = 0
  end
  for i = 1, n do args[i] = fields[i] end
  local function put(name, value)
    if value and value ~= '' then
      args[#args + 1] = 'redrive-' .. name
      args[#args + 1] = value
    end
  end
  put('v', '1')
  put('fields', int(n / 2))
  put('stream', STREAM)
  put('group', GROUP)
  put('id', id)
  put('reason', about.reason)
  put('error', about.err)
  put('error-kind', about.kind)
  put('fingerprint', about.fingerprint)
  put('attempts', int(about.f))
  put('crashes', int(about.x))
  put('consumer', about.consumer)
  if about.first > 0 then put('first-at', int(about.first)) end
  put('dead-at', int(NOW))
  put('replays', replays)
  put('campaign', campaign)
  put('replayed-from', from)
  put('packed', packed)
  return args
end

-- The layout of a dead letter and its fields: native where the one asked for cannot hold it.
local function compose(id, fields, about)
  if LAYOUT == 'flat' and flat_can_hold(fields) then return 'flat', flat(id, fields, about) end
  local args = LAYOUT == 'envelope' and envelope(id, fields, about)
  if args then return 'envelope', args end
  return 'native', native(id, fields, about)
end

-- Notes in the campaign that put a message back that it has died again, where the campaign is one of this
-- queue. Its key is made from that of the ledger, beside which it lies; the name in the entry may be
-- anybody's.
local function note_death(fields, added, fingerprint)
  local _, from, _, campaign = own(fields)
  if not campaign or #campaign > 64 or not string.match(campaign, '^[%w._-]+$') then return end
  local key = string.sub(LEDGER, 1, -7) .. 'campaign:' .. campaign
  if redis.pcall('HEXISTS', key, 'r:' .. from) ~= 1 then return end
  if not fingerprint or fingerprint == '' then fingerprint = '-' end
  redis.pcall('HSET', key, 'd:' .. from, added .. ' ' .. fingerprint)
end

-- Adds one dead letter; answers its id and layout, or nil and why the server refused.
local function add_dead_letter(id, fields, about)
  local layout, args = compose(id, fields, about)
  local added = redis.pcall('XADD', DLQ, '*', unpack(args))
  if type(added) == 'table' and added.err then return nil, added.err end
  -- What was added must be removed from the PEL whatever becomes of the count.
  redis.pcall('HINCRBY', LEDGER, 'dead_lettered', 1)
  note_death(fields, added, about.fingerprint)
  return added, layout
end

-- The bytes of the queue as the server counts them: exact up to so many nodes of the stream, an estimate
-- beyond. Or nil and why it does not tell.
local function usage()
  local bytes = redis.pcall('MEMORY', 'USAGE', DLQ, 'SAMPLES', 1000)
  if type(bytes) == 'table' then return nil, bytes.err end
  return bytes or 0
end

-- Whether the queue takes no more, and why that cannot be told. What is no stream is not full: adding to
-- it tells why. An empty one is not: its bytes are those of no dead letter.
local function full()
  local bytes, err
  if BYTES > 0 then bytes, err = usage() end
  if not STOPS then return false, err end
  local length = redis.pcall('XLEN', DLQ)
  if type(length) ~= 'number' or length == 0 then return false, err end
  if MOST > 0 and length >= MOST then return true end
  if AGE > 0 and NOW > AGE and #redis.call('XRANGE', DLQ, '-', int(NOW - AGE - 1), 'COUNT', 1) > 0 then
    return true
  end
  return bytes and bytes >= BYTES or false, err
end

-- How many one call drops at most to keep within its bytes: each is measured, and the server waits.
local to_drop = 500

-- Keeps the queue within its limit where that drops the oldest: how many went. What was just added stays.
local function drop_oldest()
  if OVERFLOW ~= 'drop' and OVERFLOW ~= 'about' then return 0 end
  local dropped = 0
  local function trim(...)
    local gone = redis.pcall('XTRIM', DLQ, ...)
    if type(gone) ~= 'number' then return 0 end
    dropped = dropped + gone
    return gone
  end
  -- Whole nodes first and no more than so many a call: a queue that has long been too long goes bit by bit.
  if MOST > 0 and trim('MAXLEN', '~', int(MOST), 'LIMIT', 10000) < 9000 and OVERFLOW == 'drop' then
    trim('MAXLEN', '=', int(MOST))
  end
  if AGE > 0 and NOW > AGE and trim('MINID', '~', int(NOW - AGE), 'LIMIT', 10000) < 9000 then
    trim('MINID', '=', int(NOW - AGE))
  end
  local length = BYTES > 0 and redis.pcall('XLEN', DLQ)
  while type(length) == 'number' and length > 1 and to_drop > 0 and (usage() or 0) > BYTES do
    length, to_drop = length - 1, to_drop - 1
    if trim('MAXLEN', '=', int(length)) == 0 then break end
  end
  if dropped > 0 then redis.pcall('HINCRBY', LEDGER, 'dropped', int(dropped)) end
  return dropped
end

-- The longest beginning of a text that a state keeps: never a part of a character, which goes on with
-- bytes from 128 to 191.
local function clip(text)
  local last = math.min(#text, 1024)
  while last > 0 and last < #text and string.find(text, '^[\128-\191]', last + 1) do last = last - 1 end
  return string.sub(text, 1, last)
end

-- Keeps a message pending for which the queue has no room: it waits, with what its last run said.
local function keep(id, about, s)
  redis.call('XCLAIM', STREAM, GROUP, ME, 0, id, 'JUSTID')
  s.f, s.first, s.err, s.h = about.f, about.first, clip(about.err), about.n
  save(id, s)
  redis.call('ZADD', DUE, int(NOW + FULL_PAUSE), id)
  return { 'full', id }
end

-- The one way out of the PEL into the dead-letter queue: added first, acknowledged after. A trimmed
-- entry leaves a tombstone with what was known before its last run, whatever the limit: a loss must be
-- said. Anything else that finds the queue full is kept, with its state s. Answers a row: died, id,
-- reason, dead letter, its layout, how many were dropped, and what was known: failures, crashes, first
-- failure in Unix ms, error; or full, id; or refused, id, error.
local function bury(id, fields, about, s)
  if not fields then
    about.reason = 'trimmed'
    fields = {}
  else
    local is_full, err = full()
    if err then return { 'refused', id, err } end
    if is_full then return keep(id, about, s) end
  end
  local added, layout = add_dead_letter(id, fields, about)
  if not added then return { 'refused', id, layout } end
  local dropped = drop_oldest()
  redis.call('XACK', STREAM, GROUP, id)
  forget(id)
  if about.reason == 'trimmed' then remember(id, added, layout, about.n, about.consumer, s) end
  return { 'died', id, about.reason, added, layout, dropped, int(about.f), int(about.x), int(about.first),
    about.err }
end

-- The tombstone of a message that its holder finds trimmed. What the delivery owes counts as a
-- crash, unless it is the holder's own; its failure is added when its bytes are, by resolve.
local function entomb(id, n, charged)
  local s = load(id, n)
  return bury(id, nil, { err = s.err, n = n, f = s.f, x = charged and s.x or crashes(s, n),
    first = s.first, consumer = ME }, s)
end
