-- Acknowledges messages that left hints behind. Not fenced: the work is done, and a tombstone that
-- stands for one goes.
--
-- ARGV from 4 on: ids
-- Returns how many were pending.

local ids = {}
for i = 4, #ARGV do ids[#ids + 1] = ARGV[i] end
local acked = redis.call('XACK', STREAM, GROUP, unpack(ids))
redis.call('HDEL', STATE, unpack(ids))
redis.call('ZREM', DUE, unpack(ids))
if redis.call('EXISTS', TOMBSTONES) == 1 then
  for _, id in ipairs(ids) do lift(id) end
end
return acked
