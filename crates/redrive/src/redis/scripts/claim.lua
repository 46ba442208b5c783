-- One round of taking over: what is due, then what nobody keeps, from a cursor on.
--
-- ARGV 4 cursor ('0-0' where a sweep starts, '' to look at nothing but what is due), 5 how many to take, 6 lease of
--      this consumer in ms, 7 lease of foreign consumers in ms, 8 max attempts, 9 max crashes, 10 cursors of the
--      scans over the state and the tombstones, 11 an id up to which not many are pending ('': not known)
-- Returns: next cursor ('' after the end of a sweep), server ms, ms to the next due time (-1: none waits), ms until
--      what somebody keeps may be taken over, of what was looked at and is near it (-1: of none), how many rows were
--      looked at one by one,
--      taken {id, count, failures, crashes, fields}, given up {rows of bury, or doubted, id: a verdict of
--      crash_loop that waits}, low-water mark, entries-added (-1: the server does not tell), '1' if the mark itself
--      is done (nothing was pending), else '0'; where a sweep starts also: next cursors of the scans, '1' if nothing is
--      pending and nobody else is here, else '0'
-- NOGROUP is raised.

local cursor, lease, foreign, till = ARGV[4], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[11]
local max_attempts, max_crashes = tonumber(ARGV[8]), tonumber(ARGV[9])
local scan, stones = string.match(ARGV[10], '^(%d+) ?(%d*)$')
local starts = cursor == '0-0'
local MOST, PAGE = 200, 1000
-- How long before its lease is over a row is near that, in ms: a third of the shortest lease, at most this.
local NEAR = 3000
-- How many rows one call looks at closely: the server waits meanwhile.
local CLOSELY = 250
-- How many leases of its owner a verdict of crash_loop waits.
local PATIENCE = 2
local take = math.min(tonumber(ARGV[5]), MOST)

redis.call('XPENDING', STREAM, GROUP)

local taken, dead, chosen = {}, {}, {}

local function room() return #taken + #dead < take end

local leases, soonest = {}, nil
local function lease_of(consumer)
  if not leases[consumer] then
    leases[consumer] = tonumber(redis.call('HGET', CONSUMERS, consumer) or false)
      or (consumer == ME and lease) or foreign
  end
  return leases[consumer]
end

local function offer(id, n, owner)
  chosen[id] = true
  local s, fields = load(id, n), payload(id)
  local x = crashes(s, n)
  local reason = used_up(s, n, max_attempts, max_crashes)
  if fields and reason == 'crash_loop' and s.h ~= n then
    dead[#dead + 1] = doubt(id, n, owner, s, PATIENCE * lease_of(owner))
    return
  end
  if not fields or reason then
    dead[#dead + 1] = bury(id, fields, { reason = reason,
      err = fields and last_words(reason, s, x) or s.err, n = n, f = s.f, x = x, first = s.first,
      consumer = owner }, s)
    return
  end
  hold(id, ME)
  taken[#taken + 1] = { id, n, s.f, told(x, max_crashes), fields }
end

-- The ids, with the first and the last of them at the ends: what `foresee` asks for. Nothing else is put in order.
local function spread(ids)
  local first, last, first_ms, first_seq, last_ms, last_seq
  for i, id in ipairs(ids) do
    local ms, seq = parts(id)
    if not ms then return ids end
    if not first or ms < first_ms or (ms == first_ms and seq < first_seq) then
      first, first_ms, first_seq = i, ms, seq
    end
    if not last or ms > last_ms or (ms == last_ms and seq > last_seq) then
      last, last_ms, last_seq = i, ms, seq
    end
  end
  local ends = {}
  for i, id in ipairs(ids) do
    if i ~= first and i ~= last then ends[#ends + 1] = id end
  end
  table.insert(ends, 1, ids[first])
  if first ~= last then ends[#ends + 1] = ids[last] end
  return ends
end

-- What is due. A due time that belongs to an earlier delivery is stale and is dropped.
local function take_due()
  local due, ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', int(NOW), 'LIMIT', 0, take), {}
  if #due == 0 then return end
  redis.call('ZREM', DUE, unpack(due))
  for _, id in ipairs(due) do
    timed[id] = false
    -- What is no id was not put there by redrive, and must not end everybody's claims.
    if string.match(id, '^%d+%-%d+$') then ids[#ids + 1] = id else forget(id) end
  end
  foresee(#ids > 1 and spread(ids) or ids)
  reading, next_read = ids, 1
  for _, id in ipairs(ids) do
    local row = still_pending(id)
    if row and load(id, row[4]).h == row[4] then offer(id, row[4], row[2]) end
  end
end

-- The shortest lease of anybody here.
local function shortest()
  local least, names = math.min(lease, foreign), redis.call('HKEYS', CONSUMERS)
  for _, name in ipairs(names) do least = math.min(least, lease_of(name)) end
  return least
end

-- Rows of what is pending, from the cursor on. Where it is known up to which id there are not many, the server leaves out
-- those that somebody keeps, at a fraction of the cost. Else without IDLE, so that it is bounded work and the
-- cursor always moves on.
local function some_rows(idle, many_rows)
  local start = cursor == '0-0' and '-' or '(' .. cursor
  if till == '' then return redis.call('XPENDING', STREAM, GROUP, start, '+', many_rows) end
  return redis.call('XPENDING', STREAM, GROUP, 'IDLE', int(idle), start, till, many_rows)
end

-- Takes what nobody keeps of these rows, as far as there is room, and keeps what waits and would soon look like it.
-- Near the end of its lease a row is looked at closely: of what neither waits nor is over it is told when it will be.
-- Answers whether there was no more room, or enough of them for one call.
local looked_at, closely = 0, 0
local function examine(found, near)
  local ids, close, last = {}, {}, #found
  for at, row in ipairs(found) do
    local over = lease_of(row[2]) - row[3]
    if over <= near and not chosen[row[1]] then
      ids[#ids + 1] = row[1]
      close[row[1]] = over
      if closely + #ids >= CLOSELY then
        last = at
        break
      end
    end
  end
  closely = closely + #ids
  if till == '' then looked_at = looked_at + last end
  -- Not `foresee`: the rows are here.
  many = math.max(many, #ids)
  asked, scores = ids, {}
  states(ids)
  reading, next_read = ids, 1
  for place = 1, last do
    local row = found[place]
    local id, owner, n = row[1], row[2], row[4]
    local over = close[id]
    if over then
      rows[id], stray[id] = row, true
      if waits(id, load(id, n), n) and is_there(id) then
        -- Refreshed to its owner: whoever looks at idle times alone must not take it early.
        hold(id, owner)
      elseif over > 0 then
        soonest = math.min(soonest or over, over)
      elseif not room() then
        return true
      else
        undue(id)
        offer(id, n, owner)
      end
    end
    cursor = id
  end
  return closely >= CLOSELY
end

-- A page of what is pending. Of a whole page that may be taken over only the beginning is told row by row.
local function look()
  local least = shortest()
  local near = math.floor(math.min(NEAR, least / 3))
  local left = PAGE
  local part = math.min(left, take - #taken - #dead + 20)
  while left > 0 do
    local found = some_rows(least - near, part)
    if examine(found, near) then return end
    if #found < part then
      cursor = till
      return
    end
    left = left - part
    part = left
  end
end

local well, failed = pcall(function()
  if take > 0 then take_due() end
  if take > 0 and cursor ~= '' then look() end
end)
write()
if not well then error(failed, 0) end
-- What was found to be trimmed only when it was to be given.
for id, row in pairs(tombs) do
  for i = #taken, 1, -1 do
    if taken[i][1] == id then
      table.remove(taken, i)
      dead[#dead + 1] = row
    end
  end
end

-- A registry that was lost makes this consumer foreign to the others until it is back.
if not redis.call('HGET', CONSUMERS, ME) then redis.pcall('HSET', CONSUMERS, ME, int(lease)) end

local summary = redis.call('XPENDING', STREAM, GROUP)

-- The low-water mark: where the group would have to start again.
local function value_of(list, name)
  for i = 1, #list, 2 do
    if list[i] == name then return list[i + 1] end
  end
end
local mark, done, added = summary[2], '0', -1
if not mark then
  -- Nothing is pending, so this one is done itself.
  done = '1'
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', STREAM)) do
    if value_of(group, 'name') == GROUP then mark = value_of(group, 'last-delivered-id') end
  end
end
added = value_of(redis.call('XINFO', 'STREAM', STREAM), 'entries-added') or -1
if mark then
  local known = redis.call('HMGET', META, 'mark', 'entries-added', 'done')
  if known[1] ~= mark or known[2] ~= int(added) or known[3] ~= done then
    redis.pcall('HSET', META, 'mark', mark, 'entries-added', int(added), 'done', done)
  end
end

local function next_due()
  local due = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
  return due and math.max(0, tonumber(due) - NOW) or -1
end
local answer = { cursor, NOW, next_due(), soonest or -1, looked_at, taken, dead, mark or '0-0', added, done }
if not starts then return answer end

-- What others acknowledged leaves state behind.
if summary[1] == 0 then
  redis.call('DEL', DUE, STATE)
  scan = '0'
else
  local states = redis.call('HSCAN', STATE, scan, 'COUNT', 100)
  scan = states[1]
  for i = 1, #states[2], 2 do
    local id = states[2][i]
    if not (string.match(id, '^%d+%-%d+$') and pending(id)) then forget(id) end
  end
  write()
end

-- Tombstones that nobody can be asking for any more.
local stones_page = redis.call('HSCAN', TOMBSTONES, stones == '' and '0' or stones, 'COUNT', 100)
stones = stones_page[1]
for i = 1, #stones_page[2], 2 do
  local until_ms = tonumber(string.match(stones_page[2][i + 1], '^%S+ (%d+)') or 0)
  if until_ms <= NOW then redis.call('HDEL', TOMBSTONES, stones_page[2][i]) end
end

local lone = summary[1] == 0 and #redis.call('HKEYS', CONSUMERS) <= 1

-- Of what was just cleared away nothing is due any more.
answer[3], answer[11], answer[12] = next_due(), scan .. ' ' .. stones, lone and '1' or '0'
return answer
