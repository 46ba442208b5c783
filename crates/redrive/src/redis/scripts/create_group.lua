-- Creates a group that is missing.
--
-- KEYS 1 stream, 2 due, 3 state, 4 tombstones; ARGV 1 group, 2 the id after which it starts
-- Returns 1 if it was created, 0 if it was there.

local created = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
if type(created) == 'table' and created.err then
  if string.match(created.err, 'BUSYGROUP') then return 0 end
  return created
end
-- Delivery counts start again at 1: what an earlier group of this name ended under such a number
-- must not end a delivery of this one.
local try = redis.pcall
if type(try('UNLINK', KEYS[2], KEYS[3], KEYS[4])) == 'table' then
  -- Not everybody may: then the server waits until their memory is freed.
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
end
return 1
