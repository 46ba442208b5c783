-- Keeps the queue within its limit where that drops the oldest, also when nothing dies: they become older.
--
-- KEYS, ARGV: as shared.lua, nothing more
-- Returns how many were dropped

return drop_oldest()
