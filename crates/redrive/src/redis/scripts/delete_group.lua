-- Removes a group with what is pending in it, and all that is kept beside it; or says what there is. One
-- with something pending or somebody alive is removed only where that is forced: checked in one step.
--
-- KEYS 1 stream, then the group's due, state, meta, consumers and tombstones, then the alive keys of those
--      among the consumers
-- ARGV 1 group, 2 'look', 'unused' or 'forced', 3 idle ms after which a consumer that is not redrive's is
--      taken for dead, then the names to which the alive keys belong
-- Returns how many were pending and were let go, where more are left: it is asked again. Else in a list:
--      1 if the group was there, else 0; 1 if it was removed; how many entries were pending; how many
--      of the keys behind the stream there were; then the names of who is alive. 'asked again' where more
--      consumers are known by now than were named.

local ours = {}
for i = 4, #ARGV do ours[ARGV[i]] = KEYS[i + 3] end
for _, name in ipairs(redis.call('HKEYS', KEYS[5])) do
  if not ours[name] then return 'asked again' end
end

local existed, pending, alive = 0, 0, {}
local summary = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if not summary.err then
  existed, pending = 1, summary[1]
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local row = {}
    for i = 1, #consumer, 2 do row[consumer[i]] = consumer[i + 1] end
    if not ours[row.name] and row.idle <= tonumber(ARGV[3]) then alive[#alive + 1] = row.name end
  end
elseif not string.match(summary.err, 'NOGROUP') then
  return summary
end
for i = 4, #ARGV do
  if redis.call('EXISTS', KEYS[i + 3]) == 1 then alive[#alive + 1] = ARGV[i] end
end

local removes = ARGV[2] == 'forced' or (ARGV[2] == 'unused' and pending == 0 and #alive == 0)
-- A group takes as long to go as much is pending in it, and the server does nothing else meanwhile: what is
-- pending goes before it, so much a call. Who may not acknowledge has it go at once.
local step, try = 1000, redis.pcall
if existed == 1 and removes and pending > step then
  local ids = {}
  for i, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', step)) do ids[i] = row[1] end
  local let_go = try('XACK', KEYS[1], ARGV[1], unpack(ids))
  if type(let_go) == 'number' and let_go > 0 then return let_go end
end
-- Beside the commands, not within: of what is large the memory is freed. Not everybody may.
local function remove(key)
  local removed = try('UNLINK', key)
  if type(removed) == 'table' then return redis.call('DEL', key) end
  return removed
end
-- What is kept beside it last: what is left of a group that has vanished is removed by asking again.
if existed == 1 and removes then redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1]) end
local kept = 0
for i = 2, #KEYS do kept = kept + (removes and remove(KEYS[i]) or redis.call('EXISTS', KEYS[i])) end
local out = { existed, removes and 1 or 0, pending, kept }
for _, name in ipairs(alive) do out[#out + 1] = name end
return out
