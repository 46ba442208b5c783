-- Notes in a campaign what it has put back. Stands in front of the scripts that put back.
--
-- KEYS 7 campaign (hash), 8 its originals (stream); both missing where there is no campaign. ARGV as of
-- the script behind it. Returns nothing by itself.

-- went: where the message went, as it is stored; window: for how many ms the original is kept, '' where
-- it is not; kept: for how many ms the campaign is remembered.
local function enlist(id, new, went, original, window, kept)
  local campaign, originals = KEYS[7], KEYS[8]
  if not campaign then return end
  local under = '-'
  if window ~= '' and original then
    local parts = {}
    for i, part in ipairs(original) do parts[i] = struct.pack('>I4', #part) .. part end
    -- The message is on its stream already: it is put back whatever becomes of this.
    local added = redis.pcall('XADD', originals, '*', 'id', id, 'fields', table.concat(parts))
    if type(added) == 'string' then under = added end
    redis.pcall('PEXPIRE', originals, window)
  end
  redis.pcall('HSET', campaign, 'r:' .. id, new .. ' ' .. under .. ' ' .. went)
  redis.pcall('PEXPIRE', campaign, kept)
end
