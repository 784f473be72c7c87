"""How several processes share one limit: the script that Redis or Valkey runs for them, once a second and key.

Rule: what was spent is counted by cumulative figures, so that a call whose answer was lost may be made again; what is
allotted is held until it is spent or its time is over, so that all processes together never begin more than the limit.
Time is the server's.

The state is one value per key, of three parts.  ``slots``: what began, by second (law ``window``: a limit for any 60
seconds).  ``due``: when the budget is whole again (law ``pace``: GCRA, a limit with a burst).  ``users``: each process,
with what it has told and holds.

A process gets the part of what is free that its share of the demand is; a fifth stays, for one that comes new.  The
last one that is free goes to who wants it first.  While a key is young, also because the server was started anew and
has forgotten, nobody gets more than its even part: the others may not have told yet what they have spent.  Where
processes know of different limits, because an upstream has complained to one of them, the lowest is everybody's.
"""

from __future__ import annotations

from typing import Final

SCRIPT: Final = """
local MINUTE, SLOT, ACTIVE, YOUNG, FORGET = 60000, 1000, 3000, 2000, 90000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, everything, law = ARGV[1], ARGV[2] == '1', ARGV[3]
local own = {r = tonumber(ARGV[4]), t = tonumber(ARGV[5]), c = tonumber(ARGV[6])}
local limit = {r = own.r, t = own.t, c = own.c}
local burst, processes, lease = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local told = {r = tonumber(ARGV[10]), t = tonumber(ARGV[11])}
local running, waiting = tonumber(ARGV[12]), {r = tonumber(ARGV[13]), t = tonumber(ARGV[14])}
local FIRST = 15  -- from here on: age in ms, requests, tokens; the newest first

local packed = redis.call('GET', KEYS[1])
local state = packed and cmsgpack.unpack(packed) or {slots = {}, due = 0, users = {}, born = now}
local slots, users = state.slots, state.users
for id, user in pairs(users) do
  if user.at < now - FORGET then users[id] = nil end
end
local mine = users[me]
if not mine and not everything then return {0} end  -- a server that has forgotten: tell all of the last minute

-- what was spent since
local new = {r = math.huge, t = math.huge}
if mine then new = {r = told.r - mine.told.r, t = told.t - mine.told.t} end
local spent = {r = 0, t = 0}
local entries = {}
for at = FIRST, #ARGV, 3 do
  local entry = {at = now - tonumber(ARGV[at])}
  for number, kind in ipairs({'r', 't'}) do
    entry[kind] = math.max(0, math.min(new[kind], tonumber(ARGV[at + number])))
    new[kind] = new[kind] - entry[kind]
    spent[kind] = spent[kind] + entry[kind]
  end
  table.insert(entries, 1, entry)
end
local given_back = {r = math.max(0, -new.r), t = math.max(0, -new.t)}
local early = {  -- since the key is known here
  r = (mine and mine.early.r or 0) + spent.r - given_back.r, t = (mine and mine.early.t or 0) + spent.t - given_back.t,
}

local interval = MINUTE / (limit.r or MINUTE)
if law == 'pace' then
  for _, entry in ipairs(entries) do
    if entry.r > 0 then state.due = math.max(state.due, entry.at) + entry.r * interval end
  end
  state.due = math.max(state.due - given_back.r * interval, 0)
else
  for _, entry in ipairs(entries) do
    local second = math.floor(entry.at / SLOT)
    local slot = slots[second] or {r = 0, t = 0}
    slot.r, slot.t = slot.r + entry.r, slot.t + entry.t
    slots[second] = slot
  end
end
local seconds = {}
for second in pairs(slots) do
  if (second + 1) * SLOT + MINUTE <= now then slots[second] = nil else table.insert(seconds, second) end
end
table.sort(seconds)
local used = {r = 0, t = 0}
for _, second in ipairs(seconds) do  -- off the oldest: they would be the first to be forgotten anyway
  for kind in pairs(used) do
    local off = math.min(slots[second][kind], given_back[kind])
    slots[second][kind], given_back[kind] = slots[second][kind] - off, given_back[kind] - off
    used[kind] = used[kind] + slots[second][kind]
  end
end

-- what the others hold and want
local weight = {r = spent.r + waiting.r + 1, t = spent.t + waiting.t + 1, c = running + waiting.r + 1}
local total, held, busy = {r = weight.r, t = weight.t, c = weight.c}, {r = 0, t = 0, c = 0}, 0
for id, user in pairs(users) do
  if id ~= me then
    for kind in pairs(held) do
      local holds = user.till > now and user.held[kind] or 0
      if kind == 'c' and user.at > now - ACTIVE then holds = math.max(holds, user.running) end
      held[kind] = held[kind] + holds
      if user.at > now - ACTIVE then total[kind] = total[kind] + user.weight[kind] end
    end
    if user.at > now - ACTIVE then
      busy = busy + user.running
      for kind in pairs(limit) do
        if user.limit[kind] then limit[kind] = math.min(limit[kind], user.limit[kind]) end
      end
    end
  end
end

local least = (waiting.r > 0 or spent.r > 0) and 1 or 0
local function part(free, hold, kind, even)
  if now - state.born < YOUNG then free = math.min(free, even) end
  local share = math.floor(free * weight[kind] / (total[kind] * 1.25))
  return math.max(0, math.min(math.floor(free - hold), math.max(least, share)))
end

-- the allotment
local grant, free, till = {}, {}, lease
if limit.r then
  if law == 'pace' then
    free.r = math.max(1, limit.r + burst) - math.max(0, state.due - now) / interval
    if free.r < 1 then till = math.max(till, (1 - free.r) * interval) end
  else
    free.r = limit.r - used.r
  end
  grant.r = part(free.r, held.r, 'r', (limit.r + burst) / processes - early.r)
end
if limit.t then
  free.t = limit.t - used.t
  grant.t = part(free.t, held.t, 't', limit.t / processes - early.t)
end
for kind in pairs(used) do
  if law ~= 'pace' and free[kind] and free[kind] < 1 then  -- nothing is free before the oldest are forgotten
    local soon = free[kind]
    for _, second in ipairs(seconds) do
      soon = soon + slots[second][kind]
      if soon >= 1 then
        till = math.max(till, (second + 1) * SLOT + MINUTE - now)
        break
      end
    end
  end
end
if limit.c then
  grant.c = running + part(limit.c - busy - running, held.c - busy, 'c', limit.c / processes - running)
end

users[me] = {
  at = now, told = told, early = early, till = now + till + lease / 4, running = running, weight = weight, limit = own,
  held = {r = grant.r or 0, t = grant.t or 0, c = grant.c or 0},
}
redis.call('SET', KEYS[1], cmsgpack.pack(state), 'PX', math.ceil(math.max(FORGET, state.due - now + MINUTE)))
return {1, grant.r or -1, grant.t or -1, grant.c or -1, math.ceil(till)}
"""
