-- Takes the tombstones away that stand for messages which were acknowledged and were not pending any
-- more: they have succeeded after all.
--
-- ARGV from 4 on: ids
-- Returns how many tombstones went.

local lifted = 0
for i = 4, #ARGV do
  if lift(ARGV[i]) then lifted = lifted + 1 end
end
return lifted
