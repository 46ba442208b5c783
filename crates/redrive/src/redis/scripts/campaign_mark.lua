-- Tells a campaign how it stands, and that its command lives.
--
-- KEYS 1 campaign (hash), 2 the campaigns of the queue (sorted set)
-- ARGV 1 new state or '', 2 the states that may become it, each between spaces, 3 '1' if it ends with
--      that, else '0', 4 how many were selected or '' where no command tells it, 5 for how many ms it is
--      remembered
-- Returns the state before · nil where there is no such campaign

local CAMPAIGN = KEYS[1]
local clock = redis.call('TIME')
local NOW = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))

local before = redis.call('HGET', CAMPAIGN, 'state')
if not before then return false end
if ARGV[4] ~= '' then redis.call('HSET', CAMPAIGN, 'seen-at', NOW, 'selected', ARGV[4]) end
if ARGV[1] ~= '' and ARGV[1] ~= before and string.find(ARGV[2], ' ' .. before .. ' ', 1, true) then
  redis.call('HSET', CAMPAIGN, 'state', ARGV[1])
  if ARGV[3] == '1' then redis.call('HSET', CAMPAIGN, 'ended-at', NOW) end
end
-- Who only asks changes nothing.
if ARGV[1] ~= '' or ARGV[4] ~= '' then
  for i = 1, 2 do redis.call('PEXPIRE', KEYS[i], ARGV[5]) end
end
return before
