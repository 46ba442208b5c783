-- Reads entries of a stream one by one, until so many or so much is read. Writes nothing.
--
-- KEYS 1 stream; ARGV 1 lowest id, 2 highest id, 3 'oldest' or 'newest' first, 4 most entries,
-- 5 most bytes, 6 how many bytes a field counts beside its own
-- Returns the entries as XRANGE does. The first is among them whatever its size; none is there only
-- where there is none.

local low, high, newest = ARGV[1], ARGV[2], ARGV[3] == 'newest'
local most, room, field = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- XREVRANGE from below the first entry goes through the whole stream to find nothing (7.0): it is
-- never asked beyond the lowest that there is.
local lowest = redis.call('XRANGE', KEYS[1], low, high, 'COUNT', 1)[1]
if not lowest then return {} end
lowest = lowest[1]

local out, bytes, from = {}, 0, newest and high or low
while #out < most do
  local entry
  if newest then
    entry = redis.call('XREVRANGE', KEYS[1], from, low, 'COUNT', 1)[1]
  else
    entry = redis.call('XRANGE', KEYS[1], from, high, 'COUNT', 1)[1]
  end
  if not entry then break end
  local fields = entry[2]
  bytes = bytes + #fields / 2 * field
  for i = 1, #fields do bytes = bytes + #fields[i] end
  if bytes > room and #out > 0 then break end
  out[#out + 1] = entry
  if newest and entry[1] == lowest then break end
  from = '(' .. entry[1]
end
return out
