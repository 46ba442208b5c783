-- Reserves the receipt of an entry of more fields than a script can add. Run twice: alone, to see
-- whether there is anything to do; then in one MULTI with the XADD and replay_complete.lua, where it
-- notes the last id of the target, so that the completion can tell whether the XADD was refused.
--
-- KEYS as replay.lua; ARGV 1 Unix seconds at which today's receipts expire, 2 id of the dead letter,
--      3 nonce of this try, 4 'remove' or 'copy'
-- Returns {'reserved'} · {'already', id} · {'missing'}

-- Where there is nothing to do, what this try reserved when it ran alone must not be taken by the
-- completion for a reservation of its MULTI. Of another try it may go: that one reserves again as well.
local function nothing_to_do()
  if string.sub(redis.call('HGET', KEYS[4], ARGV[2]) or '', 1, 1) == '?' then
    redis.call('HDEL', KEYS[4], ARGV[2])
  end
end

for i = 4, 6 do
  local new = redis.call('HGET', KEYS[i], ARGV[2])
  if new and string.sub(new, 1, 1) ~= '?' then
    -- A copy was put back before: now it goes, without a second entry.
    if ARGV[4] == 'remove' and redis.call('XDEL', KEYS[1], ARGV[2]) == 1 then
      redis.pcall('HINCRBY', KEYS[2], 'replayed', 1)
    end
    nothing_to_do()
    return { 'already', new }
  end
end
if #redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2]) == 0 then
  nothing_to_do()
  return { 'missing' }
end
local last, info = '0-0', redis.pcall('XINFO', 'STREAM', KEYS[3])
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
-- Taken from whoever reserved before, and perhaps never heard that it had: who is alive reserves once
-- more in front of its XADD, so no completion relies on what was reserved outside its MULTI.
redis.call('HSET', KEYS[4], ARGV[2], '?' .. ARGV[3] .. ' ' .. last)
redis.call('EXPIREAT', KEYS[4], ARGV[1])
return { 'reserved' }
