-- Tells what the first nodes of a stream take, and so what as many of its first entries do. Writes nothing.
--
-- KEYS 1 stream; ARGV 1 how many nodes
-- Returns bytes, rather too many than too few; -1 where the server does not tell

-- What it samples are the first nodes; of the others, but for the last, it takes the mean of these.
local nodes = tonumber(ARGV[1])
local all = redis.pcall('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', nodes)
if type(all) ~= 'number' then return -1 end
-- FULL tells no last entry, which may be heavy.
local about = redis.pcall('XINFO', 'STREAM', KEYS[1], 'FULL', 'COUNT', 1)
if about.err then return -1 end
for i = 1, #about, 2 do
  if about[i] == 'radix-tree-keys' then
    local there = about[i + 1]
    return there <= nodes and all or math.ceil(all / (there - 1)) * nodes
  end
end
return -1
