-- Begins a campaign, or goes on with it where it has the same selection and target.
--
-- KEYS 1 campaign (hash), 2 the campaigns of the queue (sorted set), 3 dead-letter stream
-- ARGV 1 its name, 2 for how many ms it is remembered, 3 selection, 4 target or '', 5 how many names and
--      values follow; then these in turn: what else is stored of a new one
-- Returns {'open', newest id that is its own} · {'ended', state} · {'other', selection, target}

local CAMPAIGN, INDEX, DLQ = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local NOW = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))

local function remembered()
  redis.call('ZADD', INDEX, 'NX', NOW, ARGV[1])
  redis.call('PEXPIRE', CAMPAIGN, ARGV[2])
  redis.call('PEXPIRE', INDEX, ARGV[2])
end

local known = redis.call('HMGET', CAMPAIGN, 'state', 'selection', 'target', 'newest')
local state, newest = known[1], known[4]
if state then
  local selection, target = known[2] or '', known[3] or ''
  if selection ~= ARGV[3] or target ~= ARGV[4] then return { 'other', selection, target } end
  if state == 'aborted' or state == 'stopped' then return { 'ended', state } end
  -- It waits for whoever paused it; what was done has something left to do, or comes to nothing.
  if state ~= 'paused' then redis.call('HSET', CAMPAIGN, 'state', 'running') end
  redis.call('HSET', CAMPAIGN, 'seen-at', NOW)
  redis.call('HDEL', CAMPAIGN, 'ended-at')
  remembered()
  return { 'open', newest or '0-0' }
end

newest = '0-0'
local info = redis.pcall('XINFO', 'STREAM', DLQ)
if not info.err then
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then newest = info[i + 1] end
  end
end
redis.call('HSET', CAMPAIGN, 'v', '1', 'state', 'running', 'began-at', NOW, 'seen-at', NOW,
  'newest', newest, unpack(ARGV, 6))
remembered()
return { 'open', newest }
