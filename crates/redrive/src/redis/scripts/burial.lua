-- The one way out of the pending entries list into the dead-letter queue: what a dead letter looks like, the limit of
-- the queue, tombstones. Stands behind shared.lua. KEYS, ARGV: as there. Returns nothing by itself.

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
  if n > 0 then args = { unpack(fields, 1, n) } end
  local last = n
  local function put(name, value)
    if value and value ~= '' then
      args[last + 1], args[last + 2] = name, value
      last = last + 2
    end
  end
  put('redrive-v', '1')
  put('redrive-fields', int(n / 2))
  put('redrive-stream', STREAM)
  put('redrive-group', GROUP)
  put('redrive-id', id)
  put('redrive-reason', about.reason)
  put('redrive-error', about.err)
  put('redrive-error-kind', about.kind)
  put('redrive-fingerprint', about.fingerprint)
  put('redrive-attempts', int(about.f))
  put('redrive-crashes', int(about.x))
  put('redrive-consumer', about.consumer)
  if about.first > 0 then put('redrive-first-at', int(about.first)) end
  put('redrive-dead-at', NOW_TEXT)
  put('redrive-replays', replays)
  put('redrive-campaign', campaign)
  put('redrive-replayed-from', from)
  put('redrive-packed', packed)
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

-- Adds one dead letter, which `write` counts; answers its id and layout, or nil and why the server refused.
local function add_dead_letter(id, fields, about)
  local layout, args = compose(id, fields, about)
  local added = redis.pcall('XADD', DLQ, '*', unpack(args))
  if type(added) == 'table' and added.err then return nil, added.err end
  died = died + 1
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
-- And of those that are not: for all of its dead letters together.
local to_cut = 5000

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
  -- Whole nodes first and no more than so many a call: a queue that has long been too long goes bit by bit. Answers
  -- whether fewer went than might.
  local function cut(how, bound)
    local most = to_cut
    if most < 500 then return false end
    to_cut = most - trim(how, '~', bound, 'LIMIT', int(most))
    return to_cut > most / 10
  end
  if MOST > 0 and cut('MAXLEN', int(MOST)) and OVERFLOW == 'drop' then trim('MAXLEN', '=', int(MOST)) end
  if AGE > 0 and NOW > AGE and cut('MINID', int(NOW - AGE)) then trim('MINID', '=', int(NOW - AGE)) end
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
  hold(id, ME)
  s.f, s.first, s.err, s.h = about.f, about.first, clip(about.err), about.n
  save(id, s)
  due_at(id, NOW + FULL_PAUSE)
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
  -- From here on it leaves, whatever becomes of the rest.
  leave(id)
  local dropped = drop_oldest()
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

-- What XCLAIM has dropped without a word, for it was no longer in the stream: see `write`.
function vanished(id)
  local row = lost_rows[id]
  local n = row[4]
  local s = load(id, n)
  return bury(id, nil, { err = s.err, n = n, f = s.f, x = crashes(s, n), first = s.first,
    consumer = row[2] }, s)
end
