-- Shared by every script that ends or keeps deliveries; loaded in front of each, with burial.lua behind it.
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

-- Numbers as text, each made once.
local ints = {}
local function int(number)
  local text = ints[number]
  if not text then
    text = string.format('%.0f', number)
    ints[number] = text
  end
  return text
end
local NOW_TEXT = int(NOW)

-- ==== what a call knows, and what it is going to write

-- A call is for many messages. They are looked up together, judged one by one, and what came of it is written
-- together, by `write`: a command for each message would cost the server several times as much. Until then this
-- is what is known, by id: rows of the PEL (false: not pending), states as they are written (false: none), when
-- they are due, as the server has it (false: at no time).
local rows, texts, scores = {}, {}, {}
-- Rows that did not come with the others of the call.
local stray = {}
-- And what is to be written: who is to own what, by owner; what is delivered once more, by the new count; which
-- states and due times have changed; what leaves the PEL.
local held, delivered, stated, timed, left = {}, {}, {}, {}, {}
-- How many dead letters were added, and not yet counted.
local died = 0

-- The one row of an entry in the PEL: id, owner, idle, delivery count; nil when it is not pending.
local function pending(id)
  if rows[id] == nil then
    local found = redis.pcall('XPENDING', STREAM, GROUP, id, id, 1)
    if found.err then
      if string.match(found.err, 'NOGROUP') then return nil end
      found = redis.call('XPENDING', STREAM, GROUP, id, id, 1)
    end
    rows[id] = found[1] or false
    stray[id] = true
  end
  return rows[id] or nil
end

-- Asks for something of each of these, some hundreds at a time.
local function each_of(ids, into, ask)
  for from = 1, #ids, 1000 do
    local last = math.min(from + 999, #ids)
    for i, found in ipairs(ask(unpack(ids, from, last))) do into[ids[from + i - 1]] = found end
  end
end

local function states(ids) each_of(ids, texts, function(...) return redis.call('HMGET', STATE, ...) end) end

-- Looks up what a call is about. The more the ids are in order, and the closer together, the more rows come with
-- one command; what did not come is looked up when it is asked for.
local many, first_row, asked = 0, nil, {}
local function foresee(ids)
  many, asked = #ids, ids
  if many < 2 then return end
  states(ids)
  local found = redis.pcall('XPENDING', STREAM, GROUP, ids[1], ids[#ids], #ids + 16)
  if found.err then return end
  for _, row in ipairs(found) do
    rows[row[1]] = row
  end
  first_row = found[1] and found[1][1]
end

-- Entries are read some at a time, in the order in which they will be asked for: `reading`, from `next_read` on. The more of
-- them were light, the more at once: what is read lies in the server's memory twice.
local LIGHT, MOST_READ = 4096, 16
local reading, next_read, at_once, bodies = {}, 1, 1, {}

-- Reads this one, and those after it. What else lies in between is read in vain.
local function read_on(id)
  while reading[next_read] and reading[next_read] ~= id do next_read = next_read + 1 end
  local last = reading[math.min(next_read + at_once - 1, #reading)] or id
  local found = redis.call('XRANGE', STREAM, id, last, 'COUNT', at_once)
  at_once = math.min(2 * at_once, MOST_READ)
  for _, entry in ipairs(found) do
    bodies[entry[1]] = entry[2]
    local bytes = 0
    for _, word in ipairs(entry[2]) do bytes = bytes + #word end
    if bytes > LIGHT then at_once = 1 end
  end
end

-- The fields of an entry as a flat list; nil when the stream no longer has it.
local function payload(id)
  if not bodies[id] then
    bodies = {}
    read_on(id)
  end
  local fields = bodies[id]
  if fields or #reading == 0 then return fields end
  local entry = redis.call('XRANGE', STREAM, id, id)[1]
  return entry and entry[2]
end

-- Time and number of an id, where they can be compared as they are read here.
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  if ms and ms < 9007199254740992 and seq < 9007199254740992 then return ms, seq end
end

-- The first entry of the stream, and the last one that was deleted: between the end of what was trimmed and that of
-- what was deleted an entry has to be looked for, behind both it is there. False where the server does not tell.
local stream
local function bounds()
  if stream == nil then
    local about, info = {}, redis.call('XINFO', 'STREAM', STREAM)
    for i = 1, #info, 2 do about[info[i]] = info[i + 1] end
    local first = about['first-entry'] and about['first-entry'][1]
    stream = false
    if first and about['max-deleted-entry-id'] then
      local ms, seq = parts(first)
      local gone_ms, gone_seq = parts(about['max-deleted-entry-id'])
      if ms and gone_ms then
        stream = { ms = ms, seq = seq, gone_ms = gone_ms, gone_seq = gone_seq }
      end
    end
  end
  return stream
end

local function is_behind_all(id)
  local ms, seq = parts(id)
  local b = ms and bounds()
  return b and (ms > b.ms or (ms == b.ms and seq >= b.seq))
    and (ms > b.gone_ms or (ms == b.gone_ms and seq > b.gone_seq)) or false
end

-- Whether the stream still has an entry, without reading it where that can be told. Rows that came together are in
-- order: where the first is behind what was trimmed and deleted, all are.
local all_there
local function is_there(id)
  if many < 2 then return payload(id) ~= nil end
  if all_there == nil and first_row then all_there = is_behind_all(first_row) end
  return all_there and rows[id] and not stray[id] or is_behind_all(id) or payload(id) ~= nil
end

local function put(lists, key, id)
  local list = lists[key]
  if list then list[#list + 1] = id else lists[key] = { id } end
end

-- It is owner's, from now on, which is no delivery: JUSTID.
local function hold(id, owner)
  local row = pending(id)
  row[2], row[3] = owner, 0
  put(held, owner, id)
end

-- It is delivered to this consumer once more: the count, which is our fencing token, goes up to n.
local function deliver(id, n)
  local row = pending(id)
  row[2], row[3], row[4] = ME, 0, n
  put(delivered, n, id)
end

local function due_at(id, ms) timed[id] = ms end

local function undue(id) timed[id] = false end

-- When it is due, as the server or this call has it; nil or false if it does not wait.
local function due_of(id)
  if timed[id] ~= nil then return timed[id] end
  if scores[id] == nil then
    -- Who asks of one asks of all.
    if not next(scores) then each_of(asked, scores, function(...) return redis.call('ZMSCORE', DUE, ...) end) end
    if scores[id] == nil then scores[id] = redis.call('ZSCORE', DUE, id) end
  end
  return scores[id]
end

-- ==== the state of one message

-- f recorded failures, x booked crashes, o the charged delivery that has not ended, h the delivery
-- for which the due time is valid, nonce of the last begin, b the delivery whose crash was booked
-- last, alone the delivery that began alone in its process (0: it did not), first failure in Unix
-- ms, err the last error.
-- Without state the present delivery counts as charged and open: a reader that died left nothing.
local function parse(text, present)
  local f, x, o, h, nonce, b, alone, first, err
  if text then
    f, x, o, h, nonce, b, alone, first, err = string.match(text,
      '^(%d+) (%d+) (%d+) (%d+) (%S+) (%d+) (%d+) (%d+) (.*)$')
  end
  if f then
    -- `+ 0` makes numbers of them, without a call for each.
    return { f = f + 0, x = x + 0, o = o + 0, h = h + 0, nonce = nonce, b = b + 0, alone = alone + 0,
      first = first + 0, err = err }
  end
  return { f = 0, x = 0, o = present, h = 0, nonce = '-', b = 0, alone = 0, first = 0, err = '' }
end

local function written(s)
  return int(s.f) .. ' ' .. int(s.x) .. ' ' .. int(s.o) .. ' ' .. int(s.h) .. ' ' .. s.nonce .. ' ' .. int(s.b)
    .. ' ' .. int(s.alone) .. ' ' .. int(s.first) .. ' ' .. s.err
end

local function load(id, present)
  if texts[id] == nil then texts[id] = redis.call('HGET', STATE, id) end
  return parse(texts[id], present)
end

local function save(id, s)
  texts[id] = written(s)
  stated[id] = true
end

local function crashes(s, present)
  if s.o == present then return s.x + 1 end
  return s.x
end

local function forget(id)
  texts[id] = false
  stated[id] = true
  timed[id] = false
end

-- It is acknowledged, when its copy is written.
local function leave(id)
  rows[id] = false
  left[#left + 1] = id
  forget(id)
end

-- Whether it waits for its due time under its present delivery.
local function waits(id, s, present)
  return s.h == present and due_of(id)
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

-- ==== writing

-- Runs a command with many words, some hundreds at a time.
local function in_parts(words, run)
  for from = 1, #words, 1000 do run(unpack(words, from, math.min(from + 999, #words))) end
end

-- The rows of what XCLAIM did not find in the stream, and what a tombstone was written for then.
local lost_rows, tombs = {}, {}
local vanished

-- Gives these to an owner. Redis 7 drops from the PEL what is no longer in the stream, and answers without it: that
-- was looked for before, and comes only where the server has told wrong what was deleted.
local function give(owner, ids, ...)
  for from = 1, #ids, 1000 do
    local words = { unpack(ids, from, math.min(from + 999, #ids)) }
    local asked = #words
    for _, word in ipairs({ ... }) do words[#words + 1] = word end
    words[#words + 1] = 'JUSTID'
    local given = redis.call('XCLAIM', STREAM, GROUP, owner, 0, unpack(words))
    if #given < asked then
      local known = {}
      for _, id in ipairs(given) do known[id] = true end
      for i = 1, asked do
        if not known[words[i]] then lost_rows[words[i]] = rows[words[i]] end
      end
    end
  end
end

-- Writes what was decided: first what is never refused for want of memory, whether it finds something or not, then
-- what may be, and removes last.
local function write()
  local claims = false
  for owner, ids in pairs(held) do
    give(owner, ids)
    claims = true
  end
  for n, ids in pairs(delivered) do
    give(ME, ids, 'RETRYCOUNT', int(n))
    claims = true
  end
  local states_of, without, dues, done = {}, {}, {}, {}
  local n = 0
  for id in pairs(stated) do
    if texts[id] then
      states_of[n + 1], states_of[n + 2] = id, texts[id]
      n = n + 2
    else
      without[#without + 1] = id
    end
  end
  for id, ms in pairs(timed) do
    if ms then
      dues[#dues + 1] = ms
      dues[#dues + 1] = id
    else
      done[#done + 1] = id
    end
  end
  -- Where no entry is ours no XCLAIM went first; this removes nothing.
  if not claims and n > 0 then redis.call('ZREM', DUE, '-') end
  in_parts(states_of, function(...) redis.call('HSET', STATE, ...) end)
  in_parts(dues, function(...) redis.call('ZADD', DUE, ...) end)
  -- What was added must be removed from the PEL whatever becomes of the count.
  if died > 0 then redis.pcall('HINCRBY', LEDGER, 'dead_lettered', died) end
  in_parts(left, function(...) redis.call('XACK', STREAM, GROUP, ...) end)
  in_parts(done, function(...) redis.call('ZREM', DUE, ...) end)
  in_parts(without, function(...) redis.call('HDEL', STATE, ...) end)
  held, delivered, stated, timed, left, scores, died = {}, {}, {}, {}, {}, {}, 0
  local lost_ones = lost_rows
  for id in pairs(lost_ones) do tombs[id] = vanished(id) end
  if next(lost_ones) then
    lost_rows = {}
    write()
  end
end

-- Judges the messages of a call, which stand in ARGV from one place on, so many words each, and writes what came of
-- it: also what came of those before one that the server refuses to look at. Returns a row for each.
local function for_each(from, words, judge)
  local ids, out = {}, {}
  for i = from, #ARGV, words do ids[#ids + 1] = ARGV[i] end
  foresee(ids)
  reading, next_read = ids, 1
  local well, failed = pcall(function()
    for i = from, #ARGV, words do
      out[(i - from) / words + 1] = judge(i)
    end
  end)
  write()
  if next(tombs) then
    for i, id in ipairs(ids) do
      if out[i] then out[i] = tombs[id] or out[i] end
    end
  end
  if not well then error(failed, 0) end
  return out
end
