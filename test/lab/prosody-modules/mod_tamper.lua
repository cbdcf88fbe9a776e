-- A server that means ill: of the messages that pass it drops some, alters some, repeats some and brings some late, and brings old ones
-- again at any time. Everything else it does as it should.
local st = require "util.stanza"
local random = math.random

local kept, last = {}, 0

local function deliver(stanza, after)
  module:add_timer(after, function () module:send(stanza) end)
end

-- Flips a character in whatever text the message holds, however deep.
local function alter(stanza)
  local altered = st.clone(stanza)
  altered:maptags(function (tag)
    local text = tag:get_text()
    if not text or #text < 8 then return tag end
    local at = random(1, #text - 1)
    local other = text:sub(at, at) == "A" and "B" or "A"
    local changed = st.stanza(tag.name, tag.attr):text(text:sub(1, at - 1) .. other .. text:sub(at + 1))
    return changed
  end)
  return altered
end

local function tamper(event)
  local stanza = event.stanza
  if stanza.attr.type == "error" then return end
  last = last % 50 + 1
  kept[last] = st.clone(stanza)
  if random() < 0.3 then deliver(st.clone(kept[random(1, #kept)]), random() * 2) end
  local what = random()
  if what < 0.25 then return true end
  if what < 0.45 then
    deliver(alter(stanza), 0)
    return true
  end
  if what < 0.65 then
    deliver(st.clone(stanza), random())
    return true
  end
  if what < 0.8 then deliver(st.clone(stanza), random()) end
end

module:hook("pre-message/bare", tamper, 1000)
module:hook("pre-message/full", tamper, 1000)
