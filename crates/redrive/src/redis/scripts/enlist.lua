-- Notes in a campaign what it has put back. Stands in front of the scripts that put back.
--
-- KEYS 7 campaign (hash), 8 its originals (stream); both missing where there is no campaign. ARGV as of
-- the script behind it. Returns nothing by itself.

-- added: for each its id, that of the message, where it went as it is stored, and its original or false;
-- window: for how many ms originals are kept, '' where they are not; kept: for how many ms the campaign is
-- remembered.
local function enlist(added, window, kept)
  local campaign, originals = KEYS[7], KEYS[8]
  if not campaign then return end
  local notes = {}
  for n, one in ipairs(added) do
    local id, new, went, original = one[1], one[2], one[3], one[4]
    local under = '-'
    if window ~= '' and original then
      local parts = {}
      for i, part in ipairs(original) do parts[i] = struct.pack('>I4', #part) .. part end
      -- The message is on its stream already: it is put back whatever becomes of this.
      local stored = redis.pcall('XADD', originals, '*', 'id', id, 'fields', table.concat(parts))
      if type(stored) == 'string' then under = stored end
    end
    notes[2 * n - 1] = 'r:' .. id
    notes[2 * n] = new .. ' ' .. under .. ' ' .. went
  end
  if window ~= '' then redis.pcall('PEXPIRE', originals, window) end
  redis.pcall('HSET', campaign, unpack(notes))
  redis.pcall('PEXPIRE', campaign, kept)
end
