-- Reads entries of a stream by their ids, as many as fit. Writes nothing.
--
-- KEYS 1 stream; ARGV 1 most bytes, 2 how many bytes a field counts beside its own, then ids
-- Returns for each of the first ids, at least one, the entry as XRANGE does, or nil where there is
-- none.

local room, field = tonumber(ARGV[1]), tonumber(ARGV[2])
local out, bytes = {}, 0
for i = 3, #ARGV do
  local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    local fields = entry[2]
    bytes = bytes + #fields / 2 * field
    for j = 1, #fields do bytes = bytes + #fields[j] end
  end
  if bytes > room and i > 3 then break end
  out[#out + 1] = entry or false
end
return out
