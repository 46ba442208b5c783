-- One round of taking over: what is due, then what nobody keeps, from a cursor on.
--
-- ARGV 4 cursor, 5 how many to take, 6 lease of this consumer in ms, 7 lease of foreign consumers
--      in ms, 8 max attempts, 9 max crashes, 10 cursors of the scans over the state and the tombstones
-- Returns: next cursor ('' after the end of a sweep), server ms, ms to the next due time (-1: none waits),
--      low-water mark, entries-added (-1: the server does not tell), '1' if the mark itself is done
--      (nothing was pending), else '0', next cursors of these scans,
--      taken {id, count, failures, crashes, fields}, given up {rows of bury, or
--      doubted, id: a verdict of crash_loop that waits}
-- NOGROUP is raised.

local cursor, lease, foreign = ARGV[4], tonumber(ARGV[6]), tonumber(ARGV[7])
local max_attempts, max_crashes = tonumber(ARGV[8]), tonumber(ARGV[9])
local scan, stones = string.match(ARGV[10], '^(%d+) ?(%d*)$')
local MOST, PAGE = 100, 1000
-- How many leases of its owner a verdict of crash_loop waits.
local PATIENCE = 2
local take = math.min(tonumber(ARGV[5]), MOST)

redis.call('XPENDING', STREAM, GROUP)

local taken, dead = {}, {}

local function room() return #taken + #dead < take end

local leases = {}
local function lease_of(consumer)
  if not leases[consumer] then
    leases[consumer] = tonumber(redis.call('HGET', CONSUMERS, consumer) or false)
      or (consumer == ME and lease) or foreign
  end
  return leases[consumer]
end

local function offer(id, n, owner)
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
  redis.call('XCLAIM', STREAM, GROUP, ME, 0, id, 'JUSTID')
  taken[#taken + 1] = { id, n, s.f, told(x, max_crashes), fields }
end

-- What is due. A due time that belongs to an earlier delivery is stale and is dropped.
if take > 0 then
  local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', int(NOW), 'LIMIT', 0, take)
  for _, id in ipairs(due) do
    redis.call('ZREM', DUE, id)
    -- What is no id was not put there by redrive, and must not end everybody's claims.
    local row = string.match(id, '^%d+%-%d+$') and pending(id)
    if not row then
      redis.call('HDEL', STATE, id)
    elseif load(id, row[4]).h == row[4] then
      offer(id, row[4], row[2])
    end
  end
end

-- What nobody keeps. Without IDLE, so that one page is bounded work and the cursor always moves on.
if take > 0 then
  local rows = redis.call('XPENDING', STREAM, GROUP, cursor == '0-0' and '-' or '(' .. cursor, '+', PAGE)
  local stopped = false
  for _, row in ipairs(rows) do
    local id, owner, idle, n = row[1], row[2], row[3], row[4]
    if idle >= lease_of(owner) then
      if waits(id, load(id, n), n) and payload(id) then
        -- Refreshed to its owner: whoever looks at idle times alone must not take it early.
        redis.call('XCLAIM', STREAM, GROUP, owner, 0, id, 'JUSTID')
      elseif not room() then
        stopped = true
        break
      else
        redis.call('ZREM', DUE, id)
        offer(id, n, owner)
      end
    end
    cursor = id
  end
  if not stopped and #rows < PAGE then cursor = '' end
end

-- What others acknowledged leaves state behind.
local summary = redis.call('XPENDING', STREAM, GROUP)
if summary[1] == 0 then
  redis.call('DEL', DUE, STATE)
  scan = '0'
else
  local page = redis.call('HSCAN', STATE, scan, 'COUNT', 100)
  scan = page[1]
  for i = 1, #page[2], 2 do
    local id = page[2][i]
    if not (string.match(id, '^%d+%-%d+$') and pending(id)) then forget(id) end
  end
end

-- Tombstones that nobody can be asking for any more.
local page = redis.call('HSCAN', TOMBSTONES, stones == '' and '0' or stones, 'COUNT', 100)
stones = page[1]
for i = 1, #page[2], 2 do
  local till = tonumber(string.match(page[2][i + 1], '^%S+ (%d+)') or 0)
  if till <= NOW then redis.call('HDEL', TOMBSTONES, page[2][i]) end
end

-- A registry that was lost makes this consumer foreign to the others until it is back.
if not redis.call('HGET', CONSUMERS, ME) then redis.pcall('HSET', CONSUMERS, ME, int(lease)) end

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

local next_due = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
next_due = next_due and math.max(0, tonumber(next_due) - NOW) or -1

return { cursor, NOW, next_due, mark or '0-0', added, done, scan .. ' ' .. stones, taken, dead }
