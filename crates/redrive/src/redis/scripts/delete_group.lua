-- Removes a group with what is pending in it, and all that is kept beside it; or says what there is.
--
-- KEYS 1 stream, then the group's due, state, meta, consumers and tombstones, then alive keys
-- ARGV 1 group, 2 'remove' or 'look'
-- Returns 1 if the group was there, else 0; how many entries were pending; how many of the keys behind
--      the stream there were.

local existed, pending = 0, 0
local summary = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if not summary.err then
  existed, pending = 1, summary[1]
elseif not string.match(summary.err, 'NOGROUP') then
  return summary
end

-- What is kept beside it last: what is left of a group that has vanished is removed by asking again.
local looks = ARGV[2] == 'look'
if existed == 1 and not looks then redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1]) end
local kept = 0
for i = 2, #KEYS do kept = kept + redis.call(looks and 'EXISTS' or 'DEL', KEYS[i]) end
return { existed, pending, kept }
