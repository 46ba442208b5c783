-- Notes as what messages of a campaign died again, and up to where the queue was searched for it.
--
-- KEYS 1 campaign (hash)
-- ARGV 1 id up to which was searched; then for each: id of the dead letter that was put back, what is
--      noted of its death
-- Returns nothing

local CAMPAIGN = KEYS[1]
if redis.call('HEXISTS', CAMPAIGN, 'state') == 0 then return end
for i = 2, #ARGV, 2 do redis.call('HSET', CAMPAIGN, 'd:' .. ARGV[i], ARGV[i + 1]) end
redis.call('HSET', CAMPAIGN, 'searched', ARGV[1])
