-- Which messages have had too many crashes, and of whose they were. Stands behind burial.lua in front
-- of the scripts that need it. KEYS, ARGV: as there. Returns nothing by itself.
--
-- A crash ends all that runs in a process. So it proves something only of a message that ran alone.

-- Whether its last crash, booked or open, is of a delivery that began alone in its process.
local function guilty(s, n)
  local last = s.o == n and n or s.b
  return s.alone ~= 0 and s.alone == last
end

-- Why a message may not run again, if it may not.
local function used_up(s, n, max_attempts, max_crashes)
  if s.f >= max_attempts then return 'attempts_exhausted' end
  if crashes(s, n) >= max_crashes and guilty(s, n) then return 'crash_loop' end
end

-- Crashes as they are told to who runs it: without a proof one short of too many.
local function told(x, max_crashes) return math.min(x, max_crashes - 1) end

-- The error of its dead letter: the last one that was recorded, or what is known instead.
local function last_words(reason, s, x)
  if reason ~= 'crash_loop' or s.err ~= '' then return s.err end
  return int(x) .. ' of its deliveries ended with their process, the last while it ran alone'
end

-- The verdict waits, under its owner: who is only slow may still come back, and a lost lease is no
-- crash. Nobody runs it meanwhile. A hint for the open delivery says that it has waited.
local function doubt(id, n, owner, s, wait)
  hold(id, owner)
  s.h = n
  save(id, s)
  due_at(id, NOW + wait)
  return { 'doubted', id }
end

-- Its owner is back, with the very delivery that was taken for a crash: it was slow.
local function came_back(id, n)
  local s = load(id, n)
  if s.h ~= n or s.o ~= n or not due_of(id) then return end
  s.h = 0
  save(id, s)
  undue(id)
end
