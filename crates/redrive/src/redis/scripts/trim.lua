-- Removes the oldest entries of a stream, of those that every group has done with, about so many at
-- most; or counts them. Looking and removing are one step: who reads or takes over in between cannot be.
--
-- KEYS 1 stream, then the meta key of each group of which a mark is known
-- ARGV 1 'remove' or 'count', 2 where counting begins as XRANGE takes it, 3 how many at most, 4 '~' or
--      '=': how precisely the first try removes; then the groups of these keys
-- Returns nothing where there is no stream, else: how many, the last one counted or where removing
--      goes on ('' at the end), how many are left, the first of these or '', the group that holds the
--      most back or '', the entry from which on, '1' if what should have gone is still there, else '0'

local STREAM, how, from, most = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', STREAM) == 0 then return false end
local before = redis.call('XLEN', STREAM)

-- Ids as text: numbers are doubles here, and would not hold them.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function below(a, b)
  local ams, aseq = string.match(a, '^(%d+)%-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)%-(%d+)$')
  if ams ~= bms then return less(ams, bms) end
  return less(aseq, bseq)
end

local function plus_one(digits)
  local head, last, nines = string.match(digits, '^(%d-)([0-8]?)(9*)$')
  return head .. (last == '' and '1' or tostring(tonumber(last) + 1)) .. string.rep('0', #nines)
end

local function successor(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  if seq == '18446744073709551615' then return plus_one(ms) .. '-0' end
  return ms .. '-' .. plus_one(seq)
end

-- Everything below the edge is done, in every group.
local edge, holder, pending = nil, '', false
local function reaches(group, id, is_pending)
  if not edge or below(id, edge) or (id == edge and group < holder) then
    edge, holder, pending = id, group, is_pending
  end
end

local there = {}
for _, group in ipairs(redis.call('XINFO', 'GROUPS', STREAM)) do
  local row = {}
  for i = 1, #group, 2 do row[group[i]] = group[i + 1] end
  there[row.name] = true
  local oldest = redis.call('XPENDING', STREAM, row.name)[2]
  reaches(row.name, oldest or successor(row['last-delivered-id']), oldest and true)
end
-- A group that has vanished is created again at its mark by whoever works for it.
for i = 2, #KEYS do
  local group = ARGV[3 + i]
  local mark = redis.call('HMGET', KEYS[i], 'mark', 'done')
  if not there[group] and mark[1] and string.match(mark[1], '^%d+%-%d+$') then
    reaches(group, mark[2] == '1' and successor(mark[1]) or mark[1], false)
  end
end

local many, go_on, kept = 0, '', '0'
if edge and how == 'count' then
  local page = redis.call('XRANGE', STREAM, from, '(' .. edge, 'COUNT', most)
  many = #page
  if many == tonumber(most) then go_on = page[many][1] end
elseif edge then
  -- Whole nodes first, which looks at no entry; then what is left of one, which is few.
  if ARGV[4] == '~' then
    many = redis.call('XTRIM', STREAM, 'MINID', '~', edge, 'LIMIT', most)
  end
  if many > 0 then go_on = edge else many = redis.call('XTRIM', STREAM, 'MINID', '=', edge) end
end

local left = redis.call('XLEN', STREAM)
local first = redis.call('XRANGE', STREAM, '-', '+', 'COUNT', 1)[1]
first = first and first[1] or ''
if how == 'remove' then
  -- Servers have said so and not done it.
  local wrong = before - left ~= many
  if edge and go_on == '' and first ~= '' and below(first, edge) then wrong = true end
  if wrong then kept = '1' end
end
local held = ''
if edge and pending then
  held = edge
elseif edge then
  local unread = redis.call('XRANGE', STREAM, edge, '+', 'COUNT', 1)[1]
  if unread then held = unread[1] else holder = '' end
end
return { many, go_on, left, first, holder, held, kept }
